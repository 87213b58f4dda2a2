"""The timestamps of a log as whole seconds."""

from __future__ import annotations

import numpy as np
import polars as pl

DAYS = [100 * month + day for month in range(1, 13) for day in range(1, 32)]
MILLISECONDS_FROM = 10**11  # a larger timestamp is in milliseconds: as seconds, the year is 5138


def to_seconds(time: pl.Series) -> pl.Series:
    """Convert timestamps to whole seconds since 1970, and check their range."""
    if time.dtype in (pl.Date, pl.Datetime):
        time = time.cast(pl.Datetime("us")).dt.epoch("s")
    elif not time.dtype.is_numeric():
        raise ValueError(
            f"column 'timestamp' is {time.dtype}; expected seconds (a number), a date or a "
            f"datetime: convert it first"
        )
    if time.dtype.is_float() and not time.is_finite().all():
        raise ValueError("column 'timestamp' has NaN or infinite values; drop those rows")
    values = time.to_numpy()
    low, high = float(values.min()), float(values.max())
    if low < 0:
        raise ValueError(f"column 'timestamp' has the negative value {low:g}; expected >= 0")
    if high >= MILLISECONDS_FROM:
        raise ValueError(
            f"column 'timestamp' has the value {high:.0f}, which as seconds lies beyond the year "
            f"5138; divide milliseconds by 1000"
        )
    month_and_day = values % 10_000
    if low >= 1900_01_01 and high <= 2100_12_31 and np.isin(month_and_day, DAYS).all():
        raise ValueError(
            f"all values of column 'timestamp' are like {low:.0f}, a date written as a number; "
            f"expected seconds since 1970: convert it to dates (2017-11-25)"
        )
    return time.cast(pl.Int64)


def check_fractions(log: pl.DataFrame, seconds: pl.Series) -> None:
    """Check that events of a user in one second have one timestamp."""
    time = log["timestamp"]
    if time.dtype.is_integer() or time.dtype == pl.Date:
        return
    fractions = time.dt.nanosecond() if time.dtype == pl.Datetime else time.cast(float) % 1
    if not (fractions != 0).any():
        return
    steps = log.select("user", "timestamp", second=seconds).unique(maintain_order=True)
    merged = steps.filter(pl.len().over("user", "second") > 1).sort("user", "timestamp")
    if len(merged):
        user, first, second = merged["user"][0], *merged["timestamp"][:2]
        raise ValueError(
            f"column 'timestamp' has {first} and {second} for user {user!r}, which would be one "
            f"step, because fractions of seconds are dropped; round the column if that is meant, "
            f"or replace it by the order of the events"
        )
