"""Feature tables of items or users in files beside the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.feature_table import require_columns
from mindlib.data.readers.branded_paths import BRANDED, parse_branded_paths
from mindlib.data.readers.files import read_header, read_table

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
            from the end with -1, -2, ...: `{"brand": ("attributes", 0)}`. They follow `fields`.
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
    split: Mapping[str, tuple[str, int]] = field(default_factory=dict)
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
        frame = read_table(self.path, self.columns).rename({self.check(): key})
        for name, (column, position) in self.split.items():
            part = pl.col(column).str.split(self.separator).list.get(position, null_on_oob=True)
            frame = frame.with_columns(part.str.strip_chars().alias(name))
        if self.branded_path:
            found = parse_branded_paths(frame[self.branded_path], self.separator)
            frame = frame.with_columns(found.select(self._path_fields))
        text = [pl.col(name).cast(pl.String) for name in self.all_fields]
        return frame.with_columns(
            pl.when(value.str.to_lowercase() != "unknown").then(value) for value in text
        )

    @staticmethod
    def guess(path: Path) -> FeatureFile:
        """Describe a table by the usual names of its columns.

        The first column is the id. The first of title, movie_title, name, text_tags and asin is
        the title; brand, category, department, manufacturer, type, class and genre become fields.
        A column "attributes" is S3-Rec's `brand|department|...|leaf`, which `parse_branded_paths`
        splits. A column "genres" is `genre|genre|...`; its first part is the genre.
        """
        found = read_header(path)
        fields = tuple(name for name in CATEGORIES if name in found[1:])
        titles = [name for name in TITLES if name in found[1:]]
        branded_path = "attributes" if "attributes" in found else None
        split = {}
        if "genres" in found and "genre" not in fields:
            split["genre"] = ("genres", 0)
        title = titles[0] if titles else None
        return FeatureFile(path, fields, title, split=split, branded_path=branded_path)


def side_arguments(
    items: FeatureFile | str | Path | None, users: FeatureFile | str | Path | None
) -> dict[str, Any]:
    """Read two feature files as arguments of `from_frames`; both headers are checked first."""
    pair = [
        side if isinstance(side, FeatureFile) or side is None else FeatureFile.guess(Path(side))
        for side in (items, users)
    ]
    for side in pair:
        if side is not None:
            side.check()
    sides: dict[str, Any] = {}
    if pair[0] is not None:
        sides |= {
            "items": pair[0].read("item"),
            "item_fields": pair[0].all_fields,
            "title": pair[0].title,
        }
    if pair[1] is not None:
        sides |= {"users": pair[1].read("user"), "profile_fields": pair[1].all_fields}
    return sides
