"""Loading a log by its name or path, from text sequences, and from tables.

Ids become integers if all of them are written as integers; otherwise they are text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.feature_table import Missing, require_columns
from mindlib.data.interactions import Interactions
from mindlib.data.log_folder import MANIFEST
from mindlib.data.planted import planted_interests
from mindlib.data.readers.amazon import amazon_reviews, is_amazon
from mindlib.data.readers.complete_journey import complete_journey
from mindlib.data.readers.features import CATEGORIES, TITLES, read_features
from mindlib.data.readers.files import (
    build_interactions,
    check_file,
    file_format,
    read_header,
    read_table,
    read_text,
    rename_key,
)
from mindlib.data.readers.movielens import RATINGS, movielens_1m
from mindlib.data.readers.published import AMAZON, load_published
from mindlib.data.readers.published import NAMES as PUBLISHED
from mindlib.data.readers.recbole import recbole
from mindlib.data.readers.taobao import is_taobao, taobao_behaviors

NAMES = ("complete-journey", "movielens-1m", "planted", *PUBLISHED)
ITEM_TABLES = ("items.tsv", "items.csv", "movies.dat", "items.txt")  # beside a sequences.txt


def sequences(
    path: str | Path,
    items: str | Path | None = None,
    users: str | Path | None = None,
    *,
    missing: Missing = "error",
    name: str | None = None,
) -> Interactions:
    """Read text with lines of `user item item ...`, oldest first, as S3-Rec and others use.

    A behaviour's timestamp is its position among those of its user, from 0. Several lines of one
    user are concatenated (SASRec's own files have one line per pair).

    Args:
        path: the text, plain or .gz, separated by white space.
        items, users: feature tables of items and users, see `read_features`.
        missing: as in `Interactions.from_frames`.
        name: the data set's name; that of the file's folder if it is not given.

    Raises:
        FileNotFoundError, ValueError: a file or column is missing, or a line has no item.
    """
    path = check_file(path)
    sides = read_features(items, users)
    lines = pl.DataFrame({"line": read_text(path).split("\n")}).with_row_index("number", 1)
    tokens = lines.select("number", tokens=pl.col("line").str.extract_all(r"\S+"))
    tokens = tokens.filter(pl.col("tokens").list.len() > 0)
    single = tokens.filter(pl.col("tokens").list.len() == 1)
    if len(single):
        raise ValueError(
            f"{path}, line {single['number'][0]}, has the user {single['tokens'][0][0]!r} and no "
            f"item; expected `user item item ...`: remove such lines ({len(single)} in all)"
        )
    log = (
        tokens.select(user=pl.col("tokens").list.first(), item=pl.col("tokens").list.slice(1))
        .explode("item")
        .with_columns(timestamp=pl.int_range(pl.len()).over("user"))
    )
    return build_interactions(
        path, log, missing=missing, name=name or path.resolve().parent.name, **sides
    )


def table(
    path: str | Path,
    user: str = "user",
    item: str = "item",
    timestamp: str | None = "timestamp",
    *,
    item_fields: Sequence[str] = (),
    profile_fields: Sequence[str] = (),
    title: str | None = None,
    items: str | Path | None = None,
    users: str | Path | None = None,
    missing: Missing = "error",
    name: str | None = None,
) -> Interactions:
    """Read a log in CSV (or another of `files.SEPARATORS`) or Parquet.

    Args:
        path: .csv, .csv.gz, .parquet, ...; text has a header.
        user, item, timestamp: the names of these columns. A timestamp is in seconds since 1970,
            or a date, or a datetime, the year first; fractions of a second are dropped unless they
            separate events of a user, which is refused. timestamp=None uses the order of the rows.
        item_fields, title, profile_fields: columns of the log with features of the item or the
            user; the first row of each item or user counts.
        items, users: alternatively, second files with these features, see `read_features`.
        missing: as in `Interactions.from_frames`.
        name: the data set's name; the file's name if it is not given.

    Raises:
        FileNotFoundError, ValueError: a file or column is missing, or has the wrong format.
    """
    path = check_file(path)
    if (items is not None and (item_fields or title)) or (users is not None and profile_fields):
        raise ValueError(
            "features are given twice, by columns of the log and by a second file; choose one"
        )
    wanted = [user, item, timestamp, *item_fields, *profile_fields, title]
    remedy = "call mindlib.data.table(path, user=..., item=..., timestamp=...) with their names"
    require_columns(path, read_header(path), [column for column in wanted if column], remedy)
    sides = read_features(items, users)
    rows = read_table(path)

    def first_rows(key: str, column: str, fields: Sequence[str | None]) -> pl.DataFrame:
        first = rows.unique(column, keep="first", maintain_order=True)
        wanted = dict.fromkeys([column, *filter(None, fields)])
        return rename_key(path, first.select(list(wanted)), column, key)

    if item_fields or title:
        features = first_rows("item", item, [*item_fields, title])
        sides |= {"items": features, "item_fields": item_fields, "title": title}
    if profile_fields:
        profiles = first_rows("user", user, profile_fields)
        sides |= {"users": profiles, "profile_fields": profile_fields}
    time = pl.col(timestamp) if timestamp else pl.int_range(pl.len())
    log = rows.select(time.alias("timestamp"), user=user, item=item)
    return build_interactions(
        path, log, missing=missing, name=name or path.name.split(".")[0], **sides
    )


def load(dataset: str | Path, **options: Any) -> Interactions:
    """Load a log by its name or by its path.

    Args:
        dataset: "complete-journey", "movielens-1m" (for research only, and not to be
            redistributed) or "planted"; or a name such as "amazon-2014-Books": `load_published`;
            or

            - a folder that `Interactions.save` wrote: `Interactions.open`;
            - a `.inter` file, or a folder with one: `recbole`;
            - a folder with sequences.txt, and optionally items.tsv, items.csv, MovieLens'
              movies.dat and users.dat, or items.txt with lines of id and name: `sequences`;
            - GroupLens's unpacked folder ml-1m, with ratings.dat: `movielens_1m`;
            - a folder with interactions.csv, .csv.gz or .parquet: `table`;
            - a file of Amazon's reviews, or a folder with one and its metadata: `amazon_reviews`;
            - Taobao's UserBehavior.csv (also .gz or .zip), or a folder with it:
              `taobao_behaviors`;
            - a .txt or .txt.gz file: `sequences`;
            - a .csv, .csv.gz or .parquet file with the columns user, item and timestamp: `table`.
        options: passed to that function.

    Raises:
        FileNotFoundError, ValueError: it is neither a name nor a path of one of these formats.
    """
    if dataset == "complete-journey":
        return complete_journey(**options)
    if dataset == "movielens-1m":
        return movielens_1m(**options)
    if dataset == "planted":
        return planted_interests(**options).log
    path = Path(os.path.expanduser(dataset))
    if os.path.isdir(path):
        return _load_folder(path, options)
    if not os.path.exists(path):
        if name := AMAZON.fullmatch(str(dataset)):
            return load_published(*name.groups(), **options)
        raise FileNotFoundError(
            f"no data set {str(dataset)!r}: it is neither a name ({', '.join(NAMES)}) nor a file "
            f"or folder that exists (from {Path.cwd()})"
        )
    if reader := _find_reader(path):
        return reader(path, **options)
    raise ValueError(
        f"{path}: expected a name ({', '.join(NAMES)}), a folder, or a file in .inter, .txt, "
        f".txt.gz, .csv, .csv.gz or .parquet, or in Amazon's or Taobao's format"
    )


def _load_folder(folder: Path, options: dict[str, Any]) -> Interactions:
    if (folder / MANIFEST).is_file():
        return Interactions.open(folder, **options)
    if any(folder.glob("*.inter")):
        return recbole(folder, **options)
    for name in ("sequences.txt", "sequences.txt.gz"):
        if (folder / name).is_file():
            return sequences(folder / name, **(_known_tables(folder) | options))
    if (folder / RATINGS).is_file():
        return movielens_1m(folder, **options)
    for name in ("interactions.csv", "interactions.csv.gz", "interactions.parquet"):
        if (folder / name).is_file():
            return _load_table(folder / name, **{"name": folder.resolve().name} | options)
    files = sorted(folder.iterdir())
    found = {file: _find_reader(file) for file in files if file.is_file()}
    events = [file for file in found if found[file] in (amazon_reviews, taobao_behaviors)]
    if len(events) > 1:
        raise ValueError(
            f"{folder} has {len(events)} files of reviews or behaviours "
            f"({', '.join(file.name for file in events)}); name the one to read"
        )
    if events:
        return load(events[0], **options)
    names = ", ".join(file.name for file in files[:10]) or "nothing"
    raise ValueError(
        f"{folder} holds {names}; expected a .inter file, sequences.txt or interactions.csv "
        f"(.csv.gz, .parquet): name the file, or call sequences() or table() with its columns"
    )


def _find_reader(path: Path) -> Callable[..., Interactions] | None:
    """The reader of a file, which its suffix and its first line determine."""
    if is_amazon(path):
        return amazon_reviews
    if is_taobao(path):
        return taobao_behaviors
    readers = {".inter": recbole, ".txt": sequences, ".csv": _load_table, ".parquet": _load_table}
    return readers.get(file_format(path))


def _load_table(path: Path, **options: Any) -> Interactions:
    """Read a table whose item features have the usual names."""
    if "items" not in options:
        found = read_header(path)
        options = {
            "item_fields": [name for name in CATEGORIES if name in found],
            "title": next((name for name in TITLES if name in found), None),
        } | options
    return table(path, **options)


def _known_tables(folder: Path) -> dict[str, Any]:
    """Find the tables beside a sequences.txt, as arguments of `sequences`."""
    items = next((folder / name for name in ITEM_TABLES if (folder / name).is_file()), None)
    users = folder / "users.dat"
    return {
        "items": items,
        "users": users if users.is_file() else None,
        # Copies of MovieLens-1M exist whose table lacks one or two films.
        "missing": "unknown" if items and items.name == "movies.dat" else "error",
    }
