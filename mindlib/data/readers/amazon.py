"""Amazon's reviews as McAuley's group publishes them: the editions of 2014, 2018 and 2023 (§4.1).

Each review is a behaviour, regardless of its rating, as in the paper's Amazon Books. The texts are
not used.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mindlib.data.feature_table import require_columns
from mindlib.data.filtering import Filtering, check_filter, filter_by_count, sort_events
from mindlib.data.interactions import MILLISECONDS_FROM, Interactions
from mindlib.data.readers.amazon_items import FIELDS, read_items
from mindlib.data.readers.files import check_file, file_format, read_header
from mindlib.data.readers.text_blocks import (
    BLOCK_BYTES,
    Block,
    Schema,
    first_line,
    parse_csv,
    parse_json_lines,
    read_blocks,
)

ASIN_LENGTH = 10
SUFFIXES = (".json.gz", ".jsonl.gz", ".json", ".jsonl")


@dataclass(frozen=True)
class Keys:
    """An edition's names of the four values of a review, and the unit of its timestamps."""

    user: str
    item: str
    rating: str
    timestamp: str
    per_second: int = 1

    @property
    def schema(self) -> Schema:
        """The type of each key."""
        text = {self.user: pl.String, self.item: pl.String}
        return {**text, self.rating: pl.Float64, self.timestamp: pl.Int64}

    @property
    def wanted(self) -> list[str]:
        """The required keys of a review: all but the rating."""
        return [self.user, self.item, self.timestamp]


OLD = Keys("reviewerID", "asin", "overall", "unixReviewTime")  # 2014 and 2018
NEW = Keys("user_id", "parent_asin", "rating", "timestamp", per_second=1000)  # 2023
# Ratings without a header: the first column is the user in 2014 and the item in 2018.
BARE = Keys("first", "second", "rating", "timestamp")
BARE_LINE = re.compile(rb"([A-Z0-9]{10},[A-Z0-9]+|[A-Z0-9]+,[A-Z0-9]{10}),[0-9.]+,\d+")


def amazon_reviews(
    path: str | Path,
    items: str | Path | Literal["beside"] | None = "beside",
    *,
    min_count: int = 1,
    filtering: Filtering = "once",
    min_rating: float | int | None = None,
    name: str | None = None,
    block_bytes: int = BLOCK_BYTES,
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
        min_rating: first keep only reviews with at least this many stars.
        name: the data set's name; the file's name if it is not given.
        block_bytes: the size of the text in memory at once.

    Raises:
        FileNotFoundError, ValueError: a file is missing or damaged, or a line has another format;
            an argument is out of range; or nothing is left.
    """
    check_filter(min_count, filtering, min_rating)
    path = check_file(path)
    if items == "beside":
        beside = [path.with_name(f"meta_{_category(path)}{suffix}") for suffix in SUFFIXES]
        meta = next((file for file in beside if file.is_file()), None)
    else:
        meta = items and check_file(items)
    keys, parts = _reviews(path, block_bytes)
    log = pl.concat(list(_kept(path, keys, parts, min_rating)))
    if log.is_empty():
        raise ValueError(f"{path} has no review with {min_rating} stars; choose a lower min_rating")
    if keys is BARE:
        log = _name_columns(path, log)
    log = filter_by_count(sort_events(log), min_count, filtering, path)

    arguments: dict[str, Any] = {}
    if meta:
        table = read_items(meta, log["item"].unique(), block_bytes)
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
    try:
        return Interactions.from_frames(log, name=name or path.name.split(".")[0], **arguments)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def is_amazon(path: Path) -> bool:
    """Whether the file's first line is a review in a format of `amazon_reviews`."""
    if file_format(path) in (".json", ".jsonl"):
        return _json_keys(path) is not None
    line = first_line(path) if file_format(path) == ".csv" else b""
    return b"parent_asin" in line.split(b",") or BARE_LINE.fullmatch(line) is not None


def _reviews(path: Path, size: int) -> tuple[Keys, Iterator[pl.DataFrame]]:
    """Detect the keys of a file, and read its rows block by block."""
    blocks = read_blocks(path, size)
    if file_format(path) in (".json", ".jsonl"):
        keys = _json_keys(path)
        if keys is None:
            raise ValueError(
                f"{path}, line 1, is {first_line(path)[:80].decode(errors='replace')!r}; expected "
                f"a review, a JSON object with {', '.join(OLD.wanted)} (2014, 2018) or "
                f"{', '.join(NEW.wanted)} (2023)"
            )
        return keys, (parse_json_lines(block, keys.schema, keys.wanted) for block in blocks)
    if file_format(path) != ".csv":
        raise ValueError(f"{path}: expected reviews in .json or .jsonl, or .csv, each also .gz")
    keys, schema = BARE, BARE.schema
    if not BARE_LINE.fullmatch(first_line(path)):
        found = read_header(path)
        require_columns(path, found, list(NEW.schema))
        keys, schema = NEW, {column: NEW.schema.get(column, pl.String) for column in found}
        blocks = _without_header(blocks)
    return keys, (parse_csv(block, schema, list(keys.schema)) for block in blocks)


def _kept(
    path: Path, keys: Keys, parts: Iterator[pl.DataFrame], min_rating: float | int | None
) -> Iterator[pl.DataFrame]:
    """Select user, item and timestamp in seconds of the reviews with enough stars."""
    count = 0
    for rows in parts:
        count += len(rows)
        time = rows[keys.timestamp]
        if keys.per_second > 1 and not (time >= MILLISECONDS_FROM).all():
            raise ValueError(
                f"{path}: timestamp has the value {time.min()}; expected milliseconds since 1970, "
                f"as in the edition of 2023: if these are seconds, read the file with "
                f"mindlib.data.table(path, user='user_id', item='parent_asin')"
            )
        if min_rating is not None:
            rows = rows.filter(pl.col(keys.rating) >= min_rating)
        yield rows.select(
            user=keys.user, item=keys.item, timestamp=pl.col(keys.timestamp) // keys.per_second
        )
    if not count:
        raise ValueError(f"{path} has no review; it needs at least one")


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


def _json_keys(path: Path) -> Keys | None:
    try:
        review = json.loads(first_line(path))
    except (ValueError, RecursionError):
        return None
    found = set(review) if isinstance(review, dict) else set()
    return next((keys for keys in (OLD, NEW) if found.issuperset(keys.wanted)), None)


def _without_header(parts: Iterator[Block]) -> Iterator[Block]:
    for number, block in enumerate(parts):
        if number == 0:
            block = Block(block.path, 2, block.data.partition(b"\n")[2])
        if block.data.strip():
            yield block


def _category(path: Path) -> str:
    """The category, X, in the file's name."""
    return re.sub(r"^(reviews|ratings)_|_\d+$", "", path.name.split(".")[0])
