"""What notebook 03 measures, draws and asks."""
