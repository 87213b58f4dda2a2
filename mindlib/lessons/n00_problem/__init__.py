"""What notebook 00 computes, draws and asks."""
