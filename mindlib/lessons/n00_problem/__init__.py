"""What notebook 00 measures, draws and asks."""
