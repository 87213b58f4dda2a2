"""Tables that say something about items or users, in files beside the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.readers.branded_paths import BRANDED, branded_paths
from mindlib.data.readers.files import column_names, read_table, require_columns

TITLES = ("title", "movie_title", "name", "text_tags", "asin")
CATEGORIES = ("brand", "category", "department", "manufacturer", "type", "class", "genre")


@dataclass(frozen=True)
class FeatureFile:
    """A file with a row for each item, or for each user.

    Attributes:
        path: .csv, .tsv, .txt (tabs), .dat (`::`), each also with .gz, or .parquet.
        fields: the columns that become categorical fields.
        title: the column with a readable name, if there is one.
        key: the column with the id; the first one if it is not given.
        columns: names for the columns of a file that has no header.
        split: fields that are a part of a column: field -> (column, place), the place counted
            from 0, or from the end with -1, -2, ...: `{"brand": ("attributes", 0)}`. They come
            after `fields`.
        separator: what stands between the parts.
        branded_path: a column with `brand|department|...|leaf`, where the brand may be missing:
            gives the fields brand, department and category of `branded_paths` that are not
            already there.

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
        """The plain fields, those that are split off, and those of the path."""
        return (*self.fields, *self.split, *self._of_path)

    @property
    def _of_path(self) -> list[str]:
        known = {*self.fields, *self.split}
        return [name for name in BRANDED if self.branded_path and name not in known]

    def check(self) -> str:
        """The name of the key column, after a look at the header only.

        Raises:
            FileNotFoundError, ValueError: no such file, or it lacks a column.
        """
        found = self.columns or tuple(column_names(self.path))
        key = self.key or found[0]
        sources = [column for column, _ in self.split.values()]
        single = [name for name in (self.title, self.branded_path) if name]
        require_columns(self.path, found, [key, *self.fields, *single, *sources])
        return key

    def read(self, key: str) -> pl.DataFrame:
        """The table, its id column renamed to `key`, with a column for each field and title."""
        frame = read_table(self.path, self.columns).rename({self.check(): key})
        for name, (column, place) in self.split.items():
            part = pl.col(column).str.split(self.separator).list.get(place, null_on_oob=True)
            frame = frame.with_columns(part.str.strip_chars().alias(name))
        if self.branded_path:
            found = branded_paths(frame[self.branded_path], self.separator)
            frame = frame.with_columns(found.select(self._of_path))
        text = [pl.col(name).cast(pl.String) for name in self.all_fields]
        frame = frame.with_columns(text)
        return frame.with_columns(
            pl.when(pl.col(name).str.to_lowercase() == "unknown")
            .then(None)
            .otherwise(pl.col(name))
            .alias(name)
            for name in self.all_fields
        )

    @staticmethod
    def guess(path: Path) -> FeatureFile:
        """A table whose columns go by the usual names.

        The first column is the id. A column title, movie_title, name, text_tags or asin (the
        first of these) is the title; brand, category, department, manufacturer, type, class and
        genre become fields. A column "attributes" is S3-Rec's `brand|department|...|leaf`,
        of which many items lack the brand: brand, department and category (the whole path) are
        found as `branded_paths` says. "genres" is `genre|genre|...`, of which the first is the
        genre.
        """
        found = column_names(path)
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
    """The arguments of `from_frames` that two feature files stand for, headers checked first."""
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
