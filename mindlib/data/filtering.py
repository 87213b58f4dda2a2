"""Steps that prepare a large log before it is indexed: sorting, deduplication, count filters."""

from __future__ import annotations

from typing import Literal

import polars as pl

from mindlib.data.option_types import AT_LEAST_1, check_option

Filtering = Literal["once", "k-core"]


def check_filter(min_count: int, filtering: Filtering) -> None:
    """Raise ValueError if an argument is out of range, before a large file is read."""
    check_option("min_count", min_count, int, AT_LEAST_1)
    check_option("filtering", filtering, Filtering)


def sort_events(log: pl.DataFrame) -> pl.DataFrame:
    """Select user, item and timestamp, sort by user, time and item, and drop duplicate rows."""
    log = log.select("user", "item", "timestamp").sort("user", "timestamp", "item")
    # After the sort this is cheap; hashing all rows would take several times their memory.
    return log.filter(pl.any_horizontal(pl.all() != pl.all().shift()).fill_null(True))


def filter_by_count(
    log: pl.DataFrame, min_count: int, filtering: Filtering, name: object
) -> pl.DataFrame:
    """Keep the rows whose user and whose item both occur at least `min_count` times.

    Args:
        log: has the columns user and item.
        filtering: "once" counts users and items in the unfiltered log, so that those that remain
            may have fewer rows; "k-core" repeats the filter until nothing changes, which yields
            the largest log in which every user and item has `min_count` rows.
        name: the log's name or path for the error message.
    """
    check_filter(min_count, filtering)
    is_frequent = pl.all_horizontal(pl.len().over(key) >= min_count for key in ("user", "item"))
    kept, before = log, -1
    while min_count > 1 and len(kept) != before:
        before = len(kept)
        kept = kept.filter(is_frequent)
        if filtering == "once":
            break
    if kept.is_empty():
        raise ValueError(
            f"{name}: of {len(log):,} interactions of {log['user'].n_unique():,} users with "
            f"{log['item'].n_unique():,} items none is left with min_count={min_count}, "
            f"filtering={filtering!r}; choose a smaller count"
        )
    return kept


def filter_by_rating(log: pl.DataFrame, min_rating: float | int, name: object) -> pl.DataFrame:
    """Keep the rows with at least this rating.

    Args:
        log: has the column rating, as numbers or text.
        name: the log's name or path for the error message.
    """
    ratings = log["rating"].cast(pl.Float64, strict=False).fill_null(float("nan"))
    if ratings.is_nan().any():
        raise ValueError(
            f"{name}: column 'rating' has the value "
            f"{log['rating'].filter(ratings.is_nan())[0]!r}; expected a number in every row: "
            f"correct or remove the others"
        )
    log = log.filter(ratings >= min_rating)
    if log.is_empty():
        raise ValueError(f"{name} has no rating >= {min_rating:g}; choose a smaller min_rating")
    return log
