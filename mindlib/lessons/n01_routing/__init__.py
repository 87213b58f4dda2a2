"""What notebook 01 measures, draws and asks."""
