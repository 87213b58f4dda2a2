"""Amazon's reviews as McAuley's group publishes them: the editions of 2014, 2018 and 2023 (§4.1).

A review is a behaviour, whatever it says: the paper's Amazon Books. Its text is passed over.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from mindlib.data.filtering import Filtering, check_counts, frequent, in_order
from mindlib.data.interactions import MILLISECONDS_FROM, Interactions
from mindlib.data.readers.amazon_items import FIELDS, read_items
from mindlib.data.readers.blocks import (
    BLOCK_BYTES,
    Block,
    Schema,
    blocks,
    csv_rows,
    first_line,
    json_rows,
)
from mindlib.data.readers.files import column_names, existing, form, naming, require_columns

ASIN_LENGTH = 10
SUFFIXES = (".json.gz", ".jsonl.gz", ".json", ".jsonl")


@dataclass(frozen=True)
class Keys:
    """What an edition calls the four values of a review, and the unit of its time."""

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
        """The keys that every review must have: all but the rating."""
        return [self.user, self.item, self.timestamp]


OLD = Keys("reviewerID", "asin", "overall", "unixReviewTime")  # 2014 and 2018
NEW = Keys("user_id", "parent_asin", "rating", "timestamp", per_second=1000)  # 2023
# Ratings without a header: 2014 starts with the user, 2018 with the item.
BARE = Keys("first", "second", "rating", "timestamp")


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
    """One category's reviews, in any of the forms in which their owner publishes them.

    | edition | reviews | ratings only | metadata |
    |---|---|---|---|
    | 2014 | `reviews_X.json.gz`, `reviews_X_5.json.gz` | `ratings_X.csv` | `meta_X.json.gz` |
    | 2018 | `X.json.gz`, `X_5.json.gz` | `X.csv` | `meta_X.json.gz` |
    | 2023 | `X.jsonl.gz` | `X.csv.gz`, also the k-cores | `meta_X.jsonl.gz` |

    Ratings are user, item, stars, time in 2014; item, user, stars, time in 2018; both without a
    header, which 2023 has.

    The form is recognised by what is in the file, not by its name; each also without .gz. In
    2023 an item is the parent of its variants, and time, there in milliseconds, is cut to
    seconds; in 2014 and 2018 it is the day. Reviews that are the same in user, item and time are
    one event; the order of the lines does not matter.

    Items get a title, a brand (in 2023 the store), and the first three levels of their category,
    each written with those above it ("Books > History"): the first path where there are several.
    Items without metadata are unknown. Without any metadata there are no features; a warning
    says so.

    The paper keeps of Books the items and the users with at least 10 reviews, by which it may
    mean two things. Its 393,801 items are more than the 367,982 of the 5-core of 2014 (as others
    have counted it), and a 10-core is a part of the 5-core: so the paper cannot have repeated
    the filter until nothing changed. `min_count=10, filtering="once"` is our reading of it, to be
    applied to all reviews, not to a 5-core. The numbers of its table have not been compared.

    Args:
        path: the reviews or ratings.
        items: the metadata, .json or .jsonl, also .gz; "beside": `meta_X` in the same folder, if
            there is one; None: no features.
        min_count, filtering: keep users and items with so many reviews, see `sifting.frequent`.
        min_rating: before that, keep only reviews with at least so many stars.
        name: what to call the data; the file's name if it is not given.
        block_bytes: how much of the text is in memory at once.

    Raises:
        FileNotFoundError, ValueError: a file is missing, damaged, or has a line of another form;
            an argument is out of range; or nothing is left.
    """
    check_counts(min_count, filtering)
    path = existing(path)
    meta = _metadata_beside(path) if items == "beside" else items and existing(items)
    keys, parts = _reviews(path, block_bytes)
    log = pl.concat(list(_kept(path, keys, parts, min_rating)))
    if log.is_empty():
        raise ValueError(f"{path} has no review with {min_rating} stars; choose a lower min_rating")
    if keys is BARE:
        log = _name_columns(path, log)
    log = frequent(in_order(log), min_count, filtering)

    arguments: dict[str, Any] = {"name": name or path.name.split(".")[0]}
    if meta:
        table = read_items(meta, log["item"].unique(), block_bytes)
        if table.is_empty():
            raise ValueError(
                f"{meta} has none of the {log['item'].n_unique():,} items of {path}; name the "
                f"metadata of the same category and edition, or pass items=None"
            )
        known = [column for column in table.columns if table[column].null_count() < len(table)]
        arguments |= {
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
    with naming(path):
        return Interactions.from_frames(log, **arguments)


def is_amazon(path: Path) -> bool:
    """Whether the file's first line is a review in one of the forms of `amazon_reviews`."""
    if form(path) in (".json", ".jsonl"):
        return _json_keys(path) is not None
    line = first_line(path)
    return form(path) == ".csv" and (b"parent_asin" in line.split(b",") or _is_bare(line))


def _reviews(path: Path, size: int) -> tuple[Keys, Iterator[pl.DataFrame]]:
    """The form of a file, and its rows with that form's names, a block at a time."""
    if form(path) in (".json", ".jsonl"):
        keys = _json_keys(path)
        if keys is None:
            raise ValueError(
                f"{path}, line 1, is {first_line(path)[:80].decode(errors='replace')!r}; expected "
                f"a review, a JSON object with {', '.join(OLD.wanted)} (2014, 2018) or "
                f"{', '.join(NEW.wanted)} (2023)"
            )
        read_line = _json_reader(keys)
        return keys, (
            json_rows(block, keys.schema, keys.wanted, read_line) for block in blocks(path, size)
        )
    if form(path) != ".csv":
        raise ValueError(f"{path}: expected reviews in .json or .jsonl, or .csv, each also .gz")
    if _is_bare(first_line(path)):
        return BARE, (
            csv_rows(block, BARE.schema, list(BARE.schema)) for block in blocks(path, size)
        )
    found = column_names(path)
    require_columns(path, found, list(NEW.schema))
    schema = {column: NEW.schema.get(column, pl.String) for column in found}
    return NEW, (
        csv_rows(block, schema, list(NEW.schema)) for block in _without_header(blocks(path, size))
    )


def _kept(
    path: Path, keys: Keys, parts: Iterator[pl.DataFrame], min_rating: float | int | None
) -> Iterator[pl.DataFrame]:
    """User, item and timestamp in seconds of the reviews with enough stars."""
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
    """Which of the first two columns of ratings without a header has the items: all ASINs."""
    fits = [(log[name].str.len_bytes() == ASIN_LENGTH).all() for name in ("user", "item")]
    if fits[0] == fits[1]:
        raise ValueError(
            f"{path}: cannot tell users from items: {'both' if fits[0] else 'neither'} of the "
            f"first two columns hold {ASIN_LENGTH} characters in all rows, as items do; write a "
            f"header and read it with mindlib.data.table"
        )
    return log.rename({"user": "item", "item": "user"}).select(log.columns) if fits[0] else log


def _json_keys(path: Path) -> Keys | None:
    try:
        keys = json.loads(first_line(path))
    except ValueError:
        return None
    for known in (OLD, NEW):
        if isinstance(keys, dict) and keys.keys() >= set(known.wanted):
            return known
    return None


def _json_reader(keys: Keys) -> Callable[[bytes], None]:
    def read_line(line: bytes) -> None:
        review = json.loads(line)
        if any(review[key] is None for key in keys.wanted):
            raise ValueError("null")
        if type(review[keys.timestamp]) is not int:
            raise TypeError(keys.timestamp)
        float(review.get(keys.rating) or 0)

    return read_line


def _is_bare(line: bytes) -> bool:
    """Whether a line is user, item, stars, time (or item, user, ...)."""
    ids = rb"([A-Z0-9]{10},[A-Z0-9]+|[A-Z0-9]+,[A-Z0-9]{10})"
    return re.fullmatch(ids + rb",[0-9.]+,\d+", line) is not None


def _without_header(parts: Iterator[Block]) -> Iterator[Block]:
    for number, block in enumerate(parts):
        if number == 0:
            block = Block(block.path, 2, block.data.partition(b"\n")[2])
        if block.data.strip():
            yield block


def _category(path: Path) -> str:
    """What stands for X in the file's name."""
    return re.sub(r"^(reviews|ratings)_|_\d+$", "", path.name.split(".")[0])


def _metadata_beside(path: Path) -> Path | None:
    candidates = [path.with_name(f"meta_{_category(path)}{suffix}") for suffix in SUFFIXES]
    return next((candidate for candidate in candidates if candidate.is_file()), None)
