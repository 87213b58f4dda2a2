"""Check the types, choices and ranges of options, which Python itself does not do."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

# Ranges: the smallest and the largest value. A field has one by its type, `Annotated[int, SIZE]`.
AT_LEAST_0 = (0, math.inf)
AT_LEAST_1 = (1, math.inf)
# Dimensions, history lengths, and numbers of layers or interests. No published model comes near
# the limit; a window of that length takes 10 GB for 4,096 users and 64 dimensions.
SIZE = (1, 10_000)
ITEMS = (1, 1_000_000)  # sampled in a step, or scored for a user: a number for each is in memory
# Factors and divisors of float32 numbers, whose products overflow far beyond them.
FACTOR, FACTOR_OR_0 = (1e-6, 1_000_000), (0, 1_000_000)
SEED = (0, 2**32 - 1)  # of NumPy's and torch's generators

NAMES = {bool: "True or False", int: "a whole number", float: "a number", NoneType: "None"}


class Options:
    """Base of the dataclasses of options, which check their fields when they are made.

    Every field is checked as by `check_option`, and its number converted to int or float. NumPy
    scalars are accepted as the numbers that they contain; tensors are not.

    Raises:
        ValueError: the message names the field, its value and what is expected.
    """

    def __post_init__(self) -> None:
        hints = _hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            value, hint = getattr(self, field.name), hints[field.name]
            kind, *limits = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            value = value.item() if isinstance(value, np.generic) else value
            check_option(field.name, value, kind, *limits)
            object.__setattr__(self, field.name, float(value) if kind is float else value)


def check_option(
    name: str, value: Any, hint: Any, limits: tuple[float | int, float | int] | None = None
) -> None:
    """Raise ValueError unless an option has the type `hint`, or is one of its choices (Literal).

    A bool is not a number, and NaN is none either; a whole number may be given for a float.

    Args:
        limits: the range, for a tuple that of each of its values. None is in every range, and an
            infinite value in none.
    """
    if not _fits(value, hint):
        raise ValueError(f"{name}={value!r}: expected {_describe(hint)}")
    if limits is None:
        return
    low, high = limits
    for number in value if isinstance(value, tuple) else (value,):
        if number is not None and not (low <= number <= high and number < math.inf):
            limit = f"at least {low}" if high == math.inf else f"{low} to {high:,}"
            raise ValueError(f"{name}={value}: expected {limit}")


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in args
    if origin in (Union, UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is tuple:
        hints = args[:1] * len(value) if isinstance(value, tuple) and args[-1] is ... else args
        return (
            isinstance(value, tuple) and len(value) == len(hints) and all(map(_fits, value, hints))
        )
    if hint in (int, float):
        kinds = int if hint is int else int | float
        return isinstance(value, kinds) and not isinstance(value, bool) and value == value
    return hint is Any or isinstance(value, origin or hint)


def _describe(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin in (Union, UnionType):
        return " or ".join(map(_describe, args))
    if origin is tuple:
        return f"({', '.join('...' if arg is ... else _describe(arg) for arg in args)})"
    return NAMES.get(hint, f"an instance of {(origin or hint).__name__}")


_hints = cache(get_type_hints)
