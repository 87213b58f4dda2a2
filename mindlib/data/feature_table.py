"""Categorical features of items or users as integer codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Int

Missing = Literal["error", "unknown"]


@dataclass(frozen=True)
class FeatureTable:
    """Categorical fields of items (category, brand, …) or of users (age, income, …).

    Attributes:
        fields: the names of the fields.
        codes: shape (rows + 1, fields); row 0 is padding, code 0 means "unknown".
        vocabularies: for each field the value of each code; code 0 is "unknown".
    """

    fields: tuple[str, ...]
    codes: Int[np.ndarray, "rows fields"]
    vocabularies: tuple[tuple[str, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of codes of each field, "unknown" included."""
        return tuple(len(vocabulary) for vocabulary in self.vocabularies)

    def column(self, field: str) -> Int[np.ndarray, " rows"]:
        """The codes of one field, one per row.

        Raises:
            KeyError: the table has no such field; the message lists its fields.
        """
        if field not in self.fields:
            raise KeyError(f"no field {field!r}; the fields are {', '.join(self.fields)}")
        return self.codes[:, self.fields.index(field)]

    def names(self, field: str) -> list[str]:
        """The values of one field as text, one per row (row 0, padding, is "unknown")."""
        codes = self.column(field)
        vocabulary = self.vocabularies[self.fields.index(field)]
        return [vocabulary[code] for code in codes]

    def take(self, rows: Int[np.ndarray, " kept"]) -> FeatureTable:
        """Select rows and drop the values that no longer occur.

        Args:
            rows: `rows[0]` must be the padding row, 0.
        """
        codes, vocabularies = [], []
        for column, vocabulary in zip(self.codes[rows].T, self.vocabularies, strict=True):
            used = np.unique(np.r_[0, column])
            codes.append(np.searchsorted(used, column))
            vocabularies.append(tuple(vocabulary[code] for code in used))
        return FeatureTable(self.fields, np.stack(codes, axis=1), tuple(vocabularies))

    @staticmethod
    def from_frame(
        frame: pl.DataFrame, key: str, ids: pl.Series, fields: Sequence[str], missing: Missing
    ) -> FeatureTable:
        """Align the rows of a table with the ids of a log, and encode its fields.

        Args:
            frame: one row for each value of the column `key`.
            key: "item" or "user".
            ids: the original ids in the log's order; padding is not among them.
            missing: whether an id without a row is an error or has unknown features.

        Raises:
            ValueError: a column is missing, an id occurs twice, or (missing="error") has no row.
        """
        require_columns(f"the {key} table", frame.columns, [key, *fields])
        try:
            frame = frame.with_columns(frame[key].cast(ids.dtype))
        except pl.exceptions.PolarsError as error:
            raise ValueError(
                f"column {key!r} is {frame[key].dtype} in the feature table and {ids.dtype} in the "
                f"log, and cannot be converted; give both the same type"
            ) from error
        repeated = frame.filter(pl.col(key).is_duplicated())[key]
        if len(repeated):
            raise ValueError(
                f"the {key} table has {repeated.n_unique()} ids more than once, "
                f"the first is {repeated[0]!r}; keep one row for each {key}"
            )
        absent = ids.filter(~ids.is_in(frame[key].implode()))
        if len(absent) and missing == "error":
            raise ValueError(
                f"{len(absent)} of {len(ids)} {key} ids of the log have no row in the {key} "
                f"table, the first is {absent[0]!r}; add their rows, or pass "
                f'missing="unknown" to let their features be unknown'
            )
        rows = ids.alias(key).to_frame().join(frame, on=key, how="left", maintain_order="left")
        codes, vocabularies = [], []
        for field in fields:
            values = to_text(rows[field]).fill_null("")
            vocabulary = values.filter(values != "").unique().sort()
            codes.append(np.r_[0, encode(values, vocabulary).fill_null(0).to_numpy()])
            vocabularies.append(("unknown", *vocabulary.to_list()))
        return FeatureTable(
            tuple(fields), np.stack(codes, axis=1).astype(np.int64), tuple(vocabularies)
        )


def encode(values: pl.Series, vocabulary: pl.Series) -> pl.Series:
    """Replace each value by its position in the vocabulary, counted from 1; null if absent."""
    known = pl.DataFrame({"value": vocabulary, "code": np.arange(1, len(vocabulary) + 1)})
    frame = values.alias("value").to_frame()
    codes = frame.join(known, on="value", how="left", maintain_order="left")["code"]
    return codes.alias(values.name)


def to_text(values: pl.Series) -> pl.Series:
    """Convert the values of a categorical field to text; null and "" are unknown.

    Training logs and serving requests both use this function, so that they are encoded equally.
    """
    return values.cast(pl.String)


def require_columns(
    where: object, found: Sequence[str], wanted: Sequence[str], remedy: str = ""
) -> None:
    """Check that a table has the wanted columns.

    Raises:
        ValueError: a wanted column is not among those found; the message lists all of these.
    """
    absent = [name for name in wanted if name not in found]
    if absent:
        raise ValueError(
            f"{where} has no column {', '.join(map(repr, absent))}; "
            f"its columns are {', '.join(map(repr, found)) or 'none'}{remedy and f': {remedy}'}"
        )
