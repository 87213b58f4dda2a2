"""Measurements, figures and exercises of notebook 04."""
