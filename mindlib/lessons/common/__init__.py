"""Shared by all notebooks: parameters, tables, style, widgets, records and exercise checks."""
