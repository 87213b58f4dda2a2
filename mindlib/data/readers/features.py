"""Feature tables of items or users in files beside the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.readers.amazon_items import BETWEEN_LEVELS, clean_text
from mindlib.data.readers.files import read_table, rename_key

BRANDED = ("brand", "department", "category")
TITLES = ("title", "movie_title", "name", "text_tags", "asin")
CATEGORIES = ("brand", "category", "department", "manufacturer", "type", "class", "genre")
PROFILE_FIELDS = ("gender", "age", "occupation")
# The columns of files without a header, as MovieLens and others publish them.
HEADERS = {
    "movies.dat": ("movie_id", "title", "genres"),
    "users.dat": ("user_id", "gender", "age", "occupation", "zip"),
    "items.txt": ("item_id", "name"),
}


def read_features(items: str | Path | None, users: str | Path | None) -> dict[str, Any]:
    """Read tables of items and of users as arguments of `Interactions.from_frames`.

    The first column is the id; the others are recognized by their names. The first of `TITLES` is
    an item's title; `CATEGORIES` and `PROFILE_FIELDS` are fields. "genres" holds the values of the
    field genre, `genre|genre|...`. "attributes" is S3-Rec's branded path: `parse_branded_paths`
    derives those of brand, department and category that are not columns. The values "" and
    "unknown" (in any case) are unknown.

    Args:
        items, users: .csv, .tsv, .txt (tabs), .dat (`::`), each also with .gz, or .parquet. Those
            of `HEADERS` have no header.
    """
    arguments: dict[str, Any] = {}
    if items is not None:
        arguments |= _read_items(Path(items))
    if users is not None:
        table = _read(Path(users), "user")
        fields = [name for name in PROFILE_FIELDS if name in table.columns]
        profiles = table.with_columns(_known(pl.col(fields).cast(pl.String)))
        arguments |= {"users": profiles, "profile_fields": fields}
    return arguments


def _read_items(path: Path) -> dict[str, Any]:
    table = _read(path, "item")
    fields = [name for name in CATEGORIES if name in table.columns]
    table = table.with_columns(_known_values(table, name) for name in fields)
    if "genres" in table.columns and "genre" not in fields:
        if table.schema["genres"] == pl.String:
            table = table.with_columns(pl.col("genres").str.split("|"))
        table = table.with_columns(genre=_known_values(table, "genres"))
        fields.append("genre")
    if "attributes" in table.columns:
        derived = [name for name in BRANDED if name not in fields]
        table = table.with_columns(parse_branded_paths(table["attributes"]).select(derived))
        fields += derived
    title = next((name for name in TITLES if name in table.columns), None)
    return {"items": table, "item_fields": fields, "title": title}


def _read(path: Path, key: str) -> pl.DataFrame:
    """Read a table and rename its first column to `key`."""
    table = read_table(path, HEADERS.get(path.name))
    return rename_key(path, table, table.columns[0], key)


def _known_values(table: pl.DataFrame, name: str) -> pl.Expr:
    """The known texts of a column, or the known texts in the lists of a column of lists."""
    if isinstance(table.schema[name], pl.List):
        return pl.col(name).list.eval(_known(pl.element().cast(pl.String).str.strip_chars()))
    return _known(pl.col(name).cast(pl.String))


def _known(text: pl.Expr) -> pl.Expr:
    """The values, of which "unknown" becomes null."""
    return pl.when(text.str.to_lowercase() != "unknown").then(text)


def parse_branded_paths(texts: pl.Series) -> pl.DataFrame:
    """Split each `brand|department|...|leaf`, where the brand may be missing.

    Without a brand, a text begins with the department; the whole table is needed to distinguish the
    two: a first part that is never a second part is a brand. (A department that never follows a
    brand is mistaken for one.) The department is the first level of the path. The category is the
    whole path ("Skin Care > Body > Oils"), because leaves of different paths share their names.

    Args:
        texts: one text per item; null and "" are unknown.

    Returns:
        The columns `BRANDED` in the order of the texts, null where unknown.
    """
    rows = [
        [clean_text(part) for part in (text or "").split("|")] for text in texts.cast(pl.String)
    ]
    rows = [[part for part in parts if part] for parts in rows]
    pairs = [parts[:2] for parts in rows if len(parts) > 1]
    seconds = {second for _, second in pairs}
    departments = {second for first, second in pairs if first not in seconds}
    found = []
    for parts in rows:
        first, second = [*parts, None, None][:2]
        brand = None if first in departments else first
        # A few items have a department as their brand: then both parts are departments.
        path = parts if brand is None and second not in departments else parts[1:]
        category = BETWEEN_LEVELS.join(path) if path else None
        found.append((brand, path[0] if path else None, category))
    frame = pl.DataFrame(found, dict.fromkeys(BRANDED, pl.String), orient="row")
    return frame.select(_known(pl.all()))
