"""RecBole's atomic files, the form in which the field publishes most of its data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import polars as pl

from mindlib.data.interactions import Interactions
from mindlib.data.readers.columns import build
from mindlib.data.readers.files import column_names, existing, read_table, require_columns

TITLES = ("title", "movie_title", "name")


def recbole(
    path: str | Path,
    *,
    min_rating: float | int | None = None,
    missing: Literal["error", "unknown"] = "error",
) -> Interactions:
    """A data set in RecBole's atomic files: `.inter`, and `.item` and `.user` if they are there.

    Tabs separate the fields, and the header gives each a type, `user_id:token`. Fields of type
    token become categorical fields of items and users; so does the first token of a token_seq
    (tokens are separated by spaces). A title, movie_title or name becomes the title, whole. Fields
    of type float or float_seq are not used, apart from timestamp and rating in `.inter`. Without
    a timestamp the order of the rows is the time.

    Args:
        path: the folder, the `.inter` file, or what stands before its `.inter`.
        min_rating: keep only interactions with at least this rating.
        missing: as in `Interactions.from_frames`.

    Raises:
        FileNotFoundError, ValueError: a file or field is missing, or has the wrong form.
    """
    inter = _inter_file(Path(path).expanduser())
    types = _atomic_types(inter)
    rated = ["rating"] if min_rating is not None else []
    require_columns(inter, list(types), ["user_id", "item_id", *rated])
    sides = {kind: inter.with_suffix(f".{kind}") for kind in ("item", "user")}
    kinds = {kind: _atomic_types(side) for kind, side in sides.items() if side.is_file()}
    for kind, found in kinds.items():
        require_columns(sides[kind], list(found), [f"{kind}_id"])

    log = _atomic(inter, types)
    if min_rating is not None:
        log = log.filter(_ratings(inter, log["rating"]) >= min_rating)
        if log.is_empty():
            raise ValueError(
                f"{inter} has no rating >= {min_rating:g}; choose a smaller min_rating"
            )
    arguments: dict[str, Any] = {}
    if "item" in kinds:
        title = next((name for name in TITLES if name in kinds["item"]), None)
        arguments |= {
            "items": _atomic(sides["item"], kinds["item"], title).rename({"item_id": "item"}),
            "item_fields": _categorical(kinds["item"], "item_id", title),
            "title": title,
        }
    if "user" in kinds:
        arguments |= {
            "users": _atomic(sides["user"], kinds["user"]).rename({"user_id": "user"}),
            "profile_fields": _categorical(kinds["user"], "user_id"),
        }
    time = pl.col("timestamp") if "timestamp" in types else pl.int_range(pl.len())
    log = log.select(timestamp=time, user="user_id", item="item_id")
    return build(inter, log, missing=missing, name=inter.stem, **arguments)


def _inter_file(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob("*.inter"))
        preferred = path / f"{path.resolve().name}.inter"
        if preferred in found:
            return preferred
        if len(found) != 1:
            raise ValueError(
                f"{path} has {len(found)} .inter files "
                f"({', '.join(file.name for file in found) or 'none'}); name the one to read"
            )
        return found[0]
    return existing(path if path.suffix == ".inter" else path.with_name(path.name + ".inter"))


def _atomic_types(path: Path) -> dict[str, str]:
    """Name and type of each field of an atomic file, from its header."""
    expected = ("token", "token_seq", "float", "float_seq")
    types = {}
    for column in column_names(path):
        name, _, kind = column.partition(":")
        if kind not in expected:
            raise ValueError(
                f"{path}: the header has {column!r}; expected name:type, the type one of "
                f"{', '.join(expected)}, and tabs between them"
            )
        types[name] = kind
    return types


def _atomic(path: Path, types: dict[str, str], whole: str | None = None) -> pl.DataFrame:
    """An atomic file; of token_seq fields the first token, except of the field `whole`."""
    frame = read_table(path)
    frame = frame.rename(dict(zip(frame.columns, types, strict=True)))
    return frame.with_columns(
        pl.col(name).str.split(" ").list.first()
        for name, kind in types.items()
        if kind == "token_seq" and name != whole
    )


def _categorical(kinds: dict[str, str], *apart: str | None) -> list[str]:
    """The fields that are tokens, except those set apart."""
    return [
        name for name, kind in kinds.items() if kind in ("token", "token_seq") and name not in apart
    ]


def _ratings(path: Path, values: pl.Series) -> pl.Series:
    ratings = values.cast(pl.Float64, strict=False).fill_null(float("nan"))
    if ratings.is_nan().any():
        wrong = values.filter(ratings.is_nan())[0]
        raise ValueError(
            f"{path}: column 'rating' has the value {wrong!r}; expected a number in every row"
        )
    return ratings
