"""Amazon's reviews as McAuley's group publishes them: the editions of 2014, 2018 and 2023 (§4.1).

Each review is a behaviour, regardless of its rating, as in the paper's Amazon Books. The texts are
not used.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mindlib.data.feature_table import require_columns
from mindlib.data.filtering import Filtering, check_filter, filter_by_count, sort_events
from mindlib.data.interactions import Interactions
from mindlib.data.readers.amazon_items import FIELDS, read_items
from mindlib.data.readers.files import build_interactions, check_file, file_format, read_header
from mindlib.data.readers.text_blocks import (
    Block,
    first_line,
    parse_csv,
    parse_json_lines,
    read_blocks,
)
from mindlib.data.timestamps import MILLISECONDS_FROM

ASIN_LENGTH = 10
SUFFIXES = (".json.gz", ".jsonl.gz", ".json", ".jsonl")
# The names of a review's user, item and timestamp, and the types of columns that are not text.
OLD = ("reviewerID", "asin", "unixReviewTime")  # 2014 and 2018
NEW = ("user_id", "parent_asin", "timestamp")  # 2023, in milliseconds
NUMBERS = {"unixReviewTime": pl.Int64, "timestamp": pl.Int64, "rating": pl.Float64}
# Ratings without a header: the first column is the user in 2014 and the item in 2018.
BARE = ("first", "second", "rating", "timestamp")
BARE_LINE = re.compile(rb"([A-Z0-9]{10},[A-Z0-9]+|[A-Z0-9]+,[A-Z0-9]{10}),[0-9.]+,\d+")


def amazon_reviews(
    path: str | Path,
    items: str | Path | Literal["beside"] | None = "beside",
    *,
    min_count: int = 1,
    filtering: Filtering = "once",
    name: str | None = None,
) -> Interactions:
    """Read the reviews of one category in any published format.

    =======  ======================  ============================  =================
    edition  reviews                 ratings only                  metadata
    =======  ======================  ============================  =================
    2014     `reviews_X.json.gz`,    `ratings_X.csv`               `meta_X.json.gz`
             `reviews_X_5.json.gz`
    2018     `X.json.gz`,            `X.csv`                       `meta_X.json.gz`
             `X_5.json.gz`
    2023     `X.jsonl.gz`            `X.csv.gz`, also the k-cores  `meta_X.jsonl.gz`
    =======  ======================  ============================  =================

    The format is recognized by the content, not by the file name; .gz is optional. Ratings have a
    header in 2023 only; without it they are user, item, stars, time (2014) or item, user, stars,
    time (2018). In 2023 an item is the parent of its variants, and milliseconds are truncated to
    seconds; in 2014 and 2018 a timestamp is a day. Reviews with equal user, item and time are one
    event; the order of the lines does not matter.

    Items have a title, a brand (the store in 2023), and the first three levels of their first
    category path, each with the levels above it ("Books > History"), unknown without metadata.

    The paper keeps users and items of Books with at least 10 reviews. Its 393,801 items are more
    than the 5-core of 2014 has (367,982), so this cannot be the 10-core: we read it as
    `min_count=10, filtering="once"` on all reviews, not compared with the paper's table yet.

    Args:
        path: the reviews or ratings.
        items: the metadata, .json or .jsonl, also .gz; "beside": `meta_X` in the same folder, or
            no features and a warning if there is none; None: no features.
        min_count, filtering: keep frequent users and items, see `filter_by_count`.
        name: the data set's name; the file's name if it is not given.

    Raises:
        FileNotFoundError, ValueError: a file is missing or damaged, or a line has another format;
            an argument is out of range; or nothing is left.
    """
    check_filter(min_count, filtering)
    path = check_file(path)
    if items == "beside":
        beside = [path.with_name(f"meta_{_category(path)}{suffix}") for suffix in SUFFIXES]
        meta = next((file for file in beside if file.is_file()), None)
    else:
        meta = items and check_file(items)
    log = filter_by_count(sort_events(_read_reviews(path)), min_count, filtering, path)

    arguments: dict[str, Any] = {}
    if meta:
        table = read_items(meta, log["item"].unique())
        if table.is_empty():
            raise ValueError(
                f"{meta} has none of the {log['item'].n_unique():,} items of {path}; name the "
                f"metadata of the same category and edition, or pass items=None"
            )
        known = [column for column in table.columns if table[column].null_count() < len(table)]
        arguments = {
            "items": table,
            "item_fields": [field for field in FIELDS if field in known],
            "title": "title" if "title" in known else None,
            "missing": "unknown",
        }
    elif items == "beside":
        warnings.warn(
            f"{path}: no metadata beside it (meta_{_category(path)}{SUFFIXES[0]}): items have "
            f"neither features nor titles. Put the file there or name it with items=..., or "
            f"pass items=None",
            stacklevel=2,
        )
    return build_interactions(path, log, name=name or path.name.split(".")[0], **arguments)


def is_amazon(path: Path) -> bool:
    """Whether the file's first line is a review in a format of `amazon_reviews`."""
    if file_format(path) in (".json", ".jsonl"):
        return _find_keys(first_line(path)) is not None
    line = first_line(path) if file_format(path) == ".csv" else b""
    return b"parent_asin" in line.split(b",") or BARE_LINE.fullmatch(line) is not None


def _read_reviews(path: Path) -> pl.DataFrame:
    """Read the columns user, item and timestamp (in seconds) of all reviews."""
    blocks, line = read_blocks(path), first_line(path)
    if file_format(path) in (".json", ".jsonl"):
        keys = _find_keys(line) or (NEW if ".jsonl" in path.name else OLD)
        parts = (parse_json_lines(block, _schema(keys)) for block in blocks)
    elif file_format(path) != ".csv":
        raise ValueError(f"{path}: expected reviews in .json or .jsonl, or .csv, each also .gz")
    elif BARE_LINE.fullmatch(line):
        keys = (*BARE[:2], BARE[-1])
        parts = (parse_csv(block, _schema(BARE), BARE) for block in blocks)
    else:
        keys, header = NEW, read_header(path)
        require_columns(path, header, NEW)
        blocks = (_drop_header(block) for block in blocks)
        parts = (parse_csv(block, _schema(header), NEW) for block in blocks)
    user, item, timestamp = keys
    rows = [part.select(user=user, item=item, timestamp=timestamp) for part in parts]
    if not any(map(len, rows)):
        raise ValueError(f"{path} has no review; it needs at least one")
    log = pl.concat(rows)
    if keys is NEW:
        if not (log["timestamp"] >= MILLISECONDS_FROM).all():
            raise ValueError(
                f"{path}: timestamp has the value {log['timestamp'].min()}; expected milliseconds "
                f"since 1970, as in the edition of 2023: multiply seconds by 1000"
            )
        log = log.with_columns(pl.col("timestamp") // 1000)
    return log if user != BARE[0] else _name_columns(path, log)


def _drop_header(block: Block) -> Block:
    if block.first > 1:
        return block
    return Block(block.path, 2, block.data.partition(b"\n")[2])


def _name_columns(path: Path, log: pl.DataFrame) -> pl.DataFrame:
    """Name the first two columns of ratings without a header: the items are all ASINs."""
    fits = [(log[name].str.len_bytes() == ASIN_LENGTH).all() for name in ("user", "item")]
    if fits[0] == fits[1]:
        raise ValueError(
            f"{path}: cannot distinguish users and items: {'both' if fits[0] else 'neither'} of "
            f"the first two columns hold {ASIN_LENGTH} characters in all rows, as items do; write "
            f"a header and read it with mindlib.data.table"
        )
    return log.rename({"user": "item", "item": "user"}).select(log.columns) if fits[0] else log


def _find_keys(line: bytes) -> tuple[str, str, str] | None:
    """The keys of the edition whose review is a line of JSON, if it is one."""
    names = set(re.findall(rb'"(\w+)"\s*:', line))
    return next((keys for keys in (OLD, NEW) if names.issuperset(map(str.encode, keys))), None)


def _schema(columns: Sequence[str]) -> dict[str, Any]:
    return {name: NUMBERS.get(name, pl.String) for name in columns}


def _category(path: Path) -> str:
    """The category, X, in the file's name."""
    return re.sub(r"^(reviews|ratings)_|_\d+$", "", path.name.split(".")[0])
