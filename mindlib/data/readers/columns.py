"""From columns as a file gives them to a log: the types of ids and of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.interactions import Interactions
from mindlib.data.readers.files import naming


def build(path: Path, log: pl.DataFrame, **arguments: Any) -> Interactions:
    """`from_frames` on what was read from `path`, which its complaints then name."""
    log = log.with_columns(
        whole_numbers(log["user"]), whole_numbers(log["item"]), as_time(path, log["timestamp"])
    )
    try:
        with naming(path):
            return Interactions.from_frames(log, **arguments)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from error


def whole_numbers(ids: pl.Series) -> pl.Series:
    """Ids as integers if every one of them is written as one ("12", but not "012")."""
    if ids.dtype != pl.String:
        return ids
    numbers = ids.cast(pl.Int64, strict=False)
    return numbers if numbers.cast(pl.String).eq_missing(ids).all() else ids


def as_time(path: str | Path, values: pl.Series) -> pl.Series:
    """Text as numbers, dates or datetimes; anything else unchanged.

    Raises:
        ValueError: a value is none of these.
    """
    if values.dtype != pl.String:
        return values
    attempts = (
        lambda: values.cast(pl.Int64),
        lambda: values.cast(pl.Float64),
        lambda: values.str.to_datetime(),
        lambda: values.str.to_date(),
    )
    for attempt in attempts:
        try:
            return attempt()
        except pl.exceptions.PolarsError:
            continue
    wrong = values.filter(values.is_not_null() & values.cast(pl.Float64, strict=False).is_null())
    raise ValueError(
        f"{path}: column {values.name!r} has the value {wrong[0]!r}; expected seconds since 1970, "
        f"or a date (2017-11-25), or a datetime (2017-11-25 10:30:00), the same in all rows"
    )
