"""The notebooks' exercises: checks that take the reader's function and say how far it is right."""

from mindlib.exercises.staged import Exercise

__all__ = ["Exercise"]
