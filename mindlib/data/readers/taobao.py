"""Taobao's UserBehavior: nine days of a million users, public data close to the paper's Tmall."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from mindlib.data.filtering import Filtering, check_filter, filter_by_count, sort_events
from mindlib.data.interactions import Interactions
from mindlib.data.option_types import check_option
from mindlib.data.readers.files import build_interactions, file_format
from mindlib.data.readers.text_blocks import first_line, parse_csv, read_blocks

Behavior = Literal["pv", "buy", "cart", "fav"]
COLUMNS = {
    "user": pl.Int64,
    "item": pl.Int64,
    "category": pl.Int64,
    "behavior": pl.Enum(get_args(Behavior)),
    "timestamp": pl.Int64,
}
# Seconds since 1970: 25 November 2017, 0:00, and 4 December, 0:00, both in China (UTC+8).
FROM, UNTIL = 1511539200, 1512316800


def taobao_behaviors(
    path: str | Path,
    behaviors: Sequence[Behavior] = ("pv",),
    *,
    min_count: int = 1,
    filtering: Filtering = "once",
    name: str | None = None,
) -> Interactions:
    """Read UserBehavior.csv in its owner's format: user, item, category, behavior, time.

    The file has no header and 100 million lines; therefore it is read block by block, and integers
    are stored in at most 4 bytes if they fit. Events outside the nine days of the data set
    (some are decades away) are dropped with a warning. Lines with equal user, item and time are
    one event; the order of the lines does not matter. An item with several categories has the
    most frequent one (the smallest among ties).

    Args:
        path: the .csv, .csv.gz, or the .zip as downloaded from
            https://tianchi.aliyun.com/dataset/649, which requires an account.
        behaviors: some of "pv" (a click), "buy", "cart" and "fav"; the paper uses clicks.
        min_count, filtering: keep frequent users and items, see `filter_by_count`.
        name: the data set's name; the file's name if it is not given.

    Raises:
        FileNotFoundError, ValueError: the file is missing or damaged, or a line has another
            format; an argument is out of range; or nothing is left.
    """
    check_option("behaviors", tuple(behaviors), tuple[Behavior, ...])
    check_filter(min_count, filtering)
    path = Path(path).expanduser()
    parts, outside = [], 0
    for block in read_blocks(path):
        rows = parse_csv(block, COLUMNS, list(COLUMNS))
        chosen = rows.filter(pl.col("behavior").is_in(behaviors)).drop("behavior")
        inside = chosen.filter(pl.col("timestamp").is_between(FROM, UNTIL, closed="left"))
        outside += len(chosen) - len(inside)
        parts.append(inside.with_columns(column.shrink_dtype() for column in inside))
    log = pl.concat(parts, how="vertical_relaxed") if parts else pl.DataFrame(schema=COLUMNS)
    if log.is_empty():
        raise ValueError(
            f"{path} has no event of {', '.join(behaviors)} from 2017-11-25 to 2017-12-03, and "
            f"{outside:,} on other days; choose other behaviors"
        )
    if outside:
        warnings.warn(
            f"{path}: dropped {outside:,} of {outside + len(log):,} events, which lie outside "
            f"2017-11-25 to 2017-12-03 (China time)",
            stacklevel=2,
        )
    categories = log.group_by("item", "category").len()
    categories = categories.sort("item", "len", "category", descending=[False, True, False])
    return build_interactions(
        path,
        filter_by_count(sort_events(log), min_count, filtering, path),
        items=categories.unique("item", keep="first", maintain_order=True),
        item_fields=["category"],
        name=name or path.name.split(".")[0],
    )


def is_taobao(path: Path) -> bool:
    """Whether the file's first line has the format of UserBehavior.csv."""
    is_archive = path.suffix == ".zip" and path.name.startswith("UserBehavior")
    if file_format(path) != ".csv" and not is_archive:
        return False
    fields = first_line(path).split(b",")
    return len(fields) == len(COLUMNS) and fields[3].decode(errors="replace") in get_args(Behavior)
