"""What a large log goes through before it is indexed: order, doubles and rarities left out."""

from __future__ import annotations

from typing import Literal, get_args

import polars as pl

Filtering = Literal["once", "k-core"]


def check_counts(min_count: int, filtering: Filtering) -> None:
    """
    Raises:
        ValueError: an argument of `frequent` is out of range.
    """
    if min_count < 1:
        raise ValueError(f"min_count={min_count}: expected at least 1, which keeps everything")
    if filtering not in get_args(Filtering):
        raise ValueError(
            f"filtering={filtering!r}: expected one of {', '.join(map(repr, get_args(Filtering)))}"
        )


def in_order(log: pl.DataFrame) -> pl.DataFrame:
    """The columns user, item and timestamp, sorted by user, time and item, each row once."""
    log = log.select("user", "item", "timestamp").sort("user", "timestamp", "item")
    # Beside the sort this costs nothing; a hash of all rows would take several times their memory.
    return log.filter(pl.any_horizontal(pl.all() != pl.all().shift()).fill_null(True))


def frequent(log: pl.DataFrame, min_count: int, filtering: Filtering) -> pl.DataFrame:
    """The rows whose user and whose item occur at least `min_count` times.

    Args:
        log: has the columns user and item.
        filtering: "once" counts users and items in the log as it comes, both before anything is
            left out, so that what is left may have fewer; "k-core" counts again in what is left
            until nothing changes, and ends with the largest log in which all have `min_count`.

    Raises:
        ValueError: nothing is left, or an argument is out of range.
    """
    check_counts(min_count, filtering)
    often = pl.all_horizontal(pl.len().over(name) >= min_count for name in ("user", "item"))
    kept = log
    while min_count > 1:
        before = len(kept)
        kept = kept.filter(often)
        if filtering == "once" or len(kept) == before:
            break
    if kept.is_empty() and len(log):
        raise ValueError(
            f"of {len(log):,} interactions of {log['user'].n_unique():,} users with "
            f"{log['item'].n_unique():,} items none is left with min_count={min_count}, "
            f"filtering={filtering!r}; choose a smaller min_count"
        )
    return kept
