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
        path: the folder, the `.inter` file, or its path without `.inter`.
        min_rating: keep only interactions with at least this rating.
        missing: as in `Interactions.from_frames`.

    Raises:
        FileNotFoundError, ValueError: a file or field is missing, or has the wrong format.
    """
    check_option("min_rating", min_rating, float | None)
    inter = _inter_file(Path(os.path.expanduser(path)))
    rated = ["rating"] if min_rating is not None else []
    types = _read_types(inter, "user_id", "item_id", *rated)
    sides = {kind: inter.with_suffix(f".{kind}") for kind in ("item", "user")}
    kinds = {
        kind: _read_types(side, f"{kind}_id") for kind, side in sides.items() if side.is_file()
    }

    log = _read_atomic(inter, types)
    if min_rating is not None:
        log = filter_by_rating(log, min_rating, inter)
    arguments: dict[str, Any] = {}
    if "item" in kinds:
        title = next((name for name in TITLES if name in kinds["item"]), None)
        arguments |= {
            "items": _read_atomic(sides["item"], kinds["item"], title),
            "item_fields": _categorical(kinds["item"], "item_id", title),
            "title": title,
        }
    if "user" in kinds:
        arguments |= {
            "users": _read_atomic(sides["user"], kinds["user"]),
            "profile_fields": _categorical(kinds["user"], "user_id"),
        }
    time = pl.col("timestamp") if "timestamp" in types else pl.int_range(pl.len())
    log = log.select(timestamp=time, user="user_id", item="item_id")
    return build_interactions(inter, log, missing=missing, name=inter.stem, **arguments)


def _inter_file(path: Path) -> Path:
    if os.path.isdir(path):
        preferred = path / f"{path.resolve().name}.inter"
        found = [preferred] if preferred.is_file() else sorted(path.glob("*.inter"))
        if len(found) != 1:
            raise ValueError(
                f"{path} has {len(found)} .inter files "
                f"({', '.join(file.name for file in found) or 'none'}); name the one to read"
            )
        return found[0]
    return check_file(path if path.suffix == ".inter" else path.with_name(path.name + ".inter"))


def _read_types(path: Path, *wanted: str) -> dict[str, str]:
    """Read the name and type of each field from a header, which must have the wanted ones."""
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
    return types


def _read_atomic(path: Path, types: dict[str, str], title: str | None = None) -> pl.DataFrame:
    """Read an atomic file and split token_seq fields, except the title."""
    frame = read_table(path)
    frame = frame.rename(dict(zip(frame.columns, types, strict=True)))
    if (key := path.suffix[1:]) != "inter":
        frame = rename_key(path, frame, f"{key}_id", key)
    several = [name for name, kind in types.items() if kind == "token_seq" and name != title]
    tokens = pl.col(several).str.split(" ")
    return frame.with_columns(tokens if key == "item" else tokens.list.first())


def _categorical(types: dict[str, str], *excluded: str | None) -> list[str]:
    """The names of the token fields that are not excluded."""
    tokens = [name for name, kind in types.items() if kind in ("token", "token_seq")]
    return [name for name in tokens if name not in excluded]
