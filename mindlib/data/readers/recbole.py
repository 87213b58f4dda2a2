"""RecBole's atomic files, in which many data sets of the field are published."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.feature_table import Missing, require_columns
from mindlib.data.filtering import filter_by_rating
from mindlib.data.interactions import Interactions
from mindlib.data.option_types import check_option
from mindlib.data.readers.files import (
    build_interactions,
    check_file,
    read_header,
    read_table,
    rename_key,
)

TITLES = ("title", "movie_title", "name")


def recbole(
    path: str | Path, *, min_rating: float | int | None = None, missing: Missing = "error"
) -> Interactions:
    """Read RecBole's atomic files: `.inter`, and `.item` and `.user` if they exist.

    Tabs separate the fields, and the header gives each a type, `user_id:token`. Fields of type
    token become categorical fields of items and users. A token_seq, whose tokens spaces separate,
    is a field with several values; of users only the first token counts. The whole of title,
    movie_title or name becomes the title.
    Fields of type float or float_seq are not used, apart from timestamp and rating in `.inter`.
    Without timestamps, the order of the rows is used.

    Args:
        path: the `.inter` file, or a folder with one.
        min_rating: keep only interactions with at least this rating.
        missing: as in `Interactions.from_frames`.

    Raises:
        FileNotFoundError, ValueError: a file or field is missing, or has the wrong format.
    """
    check_option("min_rating", min_rating, float | None)
    path = Path(os.path.expanduser(path))
    found = sorted(path.glob("*.inter")) if os.path.isdir(path) else [check_file(path)]
    if len(found) != 1:
        raise ValueError(
            f"{path} has {len(found)} .inter files "
            f"({', '.join(file.name for file in found) or 'none'}); name the one to read"
        )
    inter = found[0]
    arguments: dict[str, Any] = {}
    for key, fields in (("item", "item_fields"), ("user", "profile_fields")):
        side, own_id = inter.with_suffix(f".{key}"), f"{key}_id"
        if not side.is_file():
            continue
        table, types = _read_atomic(side, own_id)
        title = next((name for name in TITLES if name in types and key == "item"), None)
        tokens = {name: kind for name, kind in types.items() if kind.startswith("token")}
        several = [name for name, kind in tokens.items() if kind == "token_seq" and name != title]
        values = pl.col(several).str.split(" ")
        table = table.with_columns(values if key == "item" else values.list.first())
        arguments[f"{key}s"] = rename_key(side, table, own_id, key)
        arguments[fields] = [name for name in tokens if name not in (own_id, title)]
        if title:
            arguments["title"] = title
    rated = ["rating"] if min_rating is not None else []
    log, types = _read_atomic(inter, "user_id", "item_id", *rated)
    if min_rating is not None:
        log = filter_by_rating(log, min_rating, inter)
    time = pl.col("timestamp") if "timestamp" in types else pl.int_range(pl.len())
    log = log.select(timestamp=time, user="user_id", item="item_id")
    return build_interactions(inter, log, missing=missing, name=inter.stem, **arguments)


def _read_atomic(path: Path, *wanted: str) -> tuple[pl.DataFrame, dict[str, str]]:
    """Read a table and the type of each of its fields, which must include the wanted ones."""
    expected = ("token", "token_seq", "float", "float_seq")
    types = {}
    for column in read_header(path):
        name, _, kind = column.partition(":")
        if kind not in expected:
            raise ValueError(
                f"{path}: the header has {column!r}; expected name:type, the type one of "
                f"{', '.join(expected)}, and tabs between them"
            )
        if name in types:
            raise ValueError(f"{path} names the column {name!r} more than once; rename one")
        types[name] = kind
    require_columns(path, list(types), wanted)
    table = read_table(path)
    return table.rename(dict(zip(table.columns, types, strict=True))), types
