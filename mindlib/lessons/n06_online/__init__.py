"""What notebook 06 measures, draws and asks."""
