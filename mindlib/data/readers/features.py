"""Feature tables of items or users in files beside the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.feature_table import require_columns
from mindlib.data.readers.amazon_items import BETWEEN_LEVELS, clean_text
from mindlib.data.readers.files import read_header, read_table, rename_key

BRANDED = ("brand", "department", "category")
TITLES = ("title", "movie_title", "name", "text_tags", "asin")
CATEGORIES = ("brand", "category", "department", "manufacturer", "type", "class", "genre")


@dataclass(frozen=True)
class FeatureFile:
    """A file with one row per item or per user.

    Attributes:
        path: .csv, .tsv, .txt (tabs), .dat (`::`), each also with .gz, or .parquet.
        fields: the columns that become categorical fields.
        title: the column with a readable name, if there is one.
        key: the column with the id; the first one if it is not given.
        columns: the names of the columns of a file without a header.
        split: fields that are a part of a column: field -> (column, position), counted from 0, or
            from the end with -1, -2, ...: `{"brand": ("attributes", 0)}`. With position None all
            parts are values of the field. They follow `fields`.
        separator: the separator of the parts.
        branded_path: a column with `brand|department|...|leaf`, where the brand may be missing;
            `parse_branded_paths` derives those of the fields brand, department and category that
            are not already defined.

    The values "" and "unknown" (in any case) are unknown.
    """

    path: Path
    fields: tuple[str, ...] = ()
    title: str | None = None
    key: str | None = None
    columns: tuple[str, ...] | None = None
    split: Mapping[str, tuple[str, int | None]] = field(default_factory=dict)
    separator: str = "|"
    branded_path: str | None = None

    @property
    def all_fields(self) -> tuple[str, ...]:
        """The plain fields, the split fields, and those of the branded path."""
        return (*self.fields, *self.split, *self._path_fields)

    @property
    def _path_fields(self) -> list[str]:
        known = {*self.fields, *self.split}
        return [name for name in BRANDED if self.branded_path and name not in known]

    def check(self) -> str:
        """Return the name of the key column; only the header is read.

        Raises:
            FileNotFoundError, ValueError: the file does not exist or has no such column.
        """
        found = self.columns or tuple(read_header(self.path))
        key = self.key or found[0]
        sources = [column for column, _ in self.split.values()]
        single = [name for name in (self.title, self.branded_path) if name]
        require_columns(self.path, found, [key, *self.fields, *single, *sources])
        return key

    def read(self, key: str) -> pl.DataFrame:
        """Read the table, with the id column renamed to `key` and a column per field and title."""
        frame = rename_key(self.path, read_table(self.path, self.columns), self.check(), key)
        stripped = pl.element().str.strip_chars()
        for name, (column, position) in self.split.items():
            parts = pl.col(column).str.split(self.separator).list.eval(_known(stripped))
            part = parts if position is None else parts.list.get(position, null_on_oob=True)
            frame = frame.with_columns(part.alias(name))
        if self.branded_path:
            found = parse_branded_paths(frame[self.branded_path], self.separator)
            frame = frame.with_columns(found.select(self._path_fields))
        whole = [name for name in self.all_fields if name not in self.split]
        return frame.with_columns(_known(pl.col(whole).cast(pl.String)))

    @staticmethod
    def guess(path: Path, columns: tuple[str, ...] | None = None) -> FeatureFile:
        """Describe a table by the usual names of its columns.

        The first column is the id, the first of `TITLES` is the title, and `CATEGORIES` become
        fields. A column "attributes" is S3-Rec's branded path. A column "genres" is
        `genre|genre|...`, which becomes the field genre.

        Args:
            columns: the names of the columns of a file without a header.
        """
        found = columns or read_header(path)
        fields = tuple(name for name in CATEGORIES if name in found[1:])
        return FeatureFile(
            path,
            fields,
            title=next((name for name in TITLES if name in found[1:]), None),
            columns=columns,
            split={"genre": ("genres", None)}
            if "genres" in found and "genre" not in fields
            else {},
            branded_path="attributes" if "attributes" in found else None,
        )


def _known(text: pl.Expr) -> pl.Expr:
    """The values, of which "unknown" becomes null."""
    return pl.when(text.str.to_lowercase() != "unknown").then(text)


def side_arguments(
    items: FeatureFile | str | Path | None, users: FeatureFile | str | Path | None
) -> dict[str, Any]:
    """Read two feature files as arguments of `from_frames`; both headers are checked first."""
    files = {
        key: side if isinstance(side, FeatureFile) else FeatureFile.guess(Path(side))
        for key, side in (("item", items), ("user", users))
        if side is not None
    }
    for side in files.values():
        side.check()
    arguments: dict[str, Any] = {}
    for key, side in files.items():
        fields = {"item": "item_fields", "user": "profile_fields"}[key]
        arguments |= {f"{key}s": side.read(key), fields: side.all_fields}
    if "item" in files:
        arguments["title"] = files["item"].title
    return arguments


def parse_branded_paths(texts: pl.Series, separator: str = "|") -> pl.DataFrame:
    """Split each `brand|department|...|leaf`, where the brand may be missing.

    Without a brand, a text begins with the department; the whole table is needed to distinguish the
    two: a first part that is never a second part is a brand. (A department that never follows a
    brand is mistaken for one.) The department is the first level of the path. The category is the
    whole path ("Skin Care > Body > Oils"), because leaves of different paths share their names.

    Args:
        texts: one text per item; null and "" are unknown.
        separator: the separator of the parts.

    Returns:
        The columns `BRANDED` in the order of the texts, null where unknown.
    """
    parts = texts.cast(pl.String).str.split(separator)
    parts = parts.list.eval(clean_text(pl.element()).drop_nulls())
    frame = pl.DataFrame({"parts": parts})
    first, second = (pl.col("parts").list.get(n, null_on_oob=True) for n in (0, 1))
    pairs = frame.select(first=first, second=second)
    brands = pairs.filter(~pl.col("first").is_in(pairs["second"].drop_nulls().implode()))
    departments = brands["second"].drop_nulls().unique().implode()
    unbranded = first.is_in(departments)
    # A few items have a department as their brand: then both parts are departments.
    start = pl.when(unbranded & ~second.is_in(departments).fill_null(False)).then(0).otherwise(1)
    path = pl.col("parts").list.slice(start)
    return frame.select(
        brand=pl.when(~unbranded & (first.str.to_lowercase() != "unknown")).then(first),
        department=path.list.first(),
        category=pl.when(path.list.len() > 0).then(path.list.join(BETWEEN_LEVELS)),
    )
