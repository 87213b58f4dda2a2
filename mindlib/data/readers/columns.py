"""Conversion of the text columns of a file to a log: the types of ids and timestamps."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.interactions import Interactions
from mindlib.data.readers.files import error_context


def build_interactions(path: Path, log: pl.DataFrame, **arguments: Any) -> Interactions:
    """Build a log from columns read from `path`; error messages name the file."""
    log = log.with_columns(
        to_integers(log["user"]), to_integers(log["item"]), parse_time(path, log["timestamp"])
    )
    try:
        with error_context(path):
            return Interactions.from_frames(log, **arguments)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from error


def to_integers(ids: pl.Series) -> pl.Series:
    """Convert ids to integers if all of them are written as integers ("12", but not "012")."""
    if ids.dtype != pl.String:
        return ids
    numbers = ids.cast(pl.Int64, strict=False)
    return numbers if numbers.cast(pl.String).eq_missing(ids).all() else ids


def parse_time(path: str | Path, values: pl.Series) -> pl.Series:
    """Convert text to numbers, dates or datetimes; other types are unchanged.

    Raises:
        ValueError: a value is none of these.
    """
    if values.dtype != pl.String:
        return values
    for convert in (
        lambda: values.cast(pl.Int64),
        lambda: values.cast(pl.Float64),
        lambda: values.str.to_datetime(),
        lambda: values.str.to_date(),
    ):
        with suppress(pl.exceptions.PolarsError):
            return convert()
    wrong = values.filter(values.is_not_null() & values.cast(pl.Float64, strict=False).is_null())
    raise ValueError(
        f"{path}: column {values.name!r} has the value {wrong[0]!r}; expected seconds since 1970, "
        f"or a date (2017-11-25), or a datetime (2017-11-25 10:30:00), the same in all rows"
    )
