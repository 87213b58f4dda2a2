"""Readers of interaction logs, one module for each published format."""
