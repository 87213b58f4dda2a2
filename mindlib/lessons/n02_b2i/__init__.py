"""What notebook 02 measures, draws and asks."""
