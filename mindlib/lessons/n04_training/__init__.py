"""What notebook 04 measures, draws and asks."""
