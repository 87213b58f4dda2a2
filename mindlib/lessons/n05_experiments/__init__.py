"""What notebook 05 measures, draws and asks."""
