"""What the notebooks measure and draw: one package for each notebook, and `common` for all.

Only notebooks import from here.
"""
