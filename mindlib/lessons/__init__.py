"""What the notebooks measure and show beyond the model itself: one module for each experiment.

Nothing outside this package, `mindlib.plots` and `mindlib.exercises` imports from it.
"""
