"""Categorical features of items or users as integer codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Int

Missing = Literal["error", "unknown"]


@dataclass(frozen=True)
class FeatureTable:
    """Categorical fields of items (category, brand, …) or of users (age, income, …).

    A field of items may have several values (genres, say): it then has several consecutive columns
    with one name and one vocabulary, and the values of a row are followed by code 0.

    Attributes:
        fields: the field of each column, such as ("genre", "genre", "genre", "year").
        codes: shape (rows + 1, columns); row 0 is padding, code 0 means "unknown".
        vocabularies: for each column the value of each code; code 0 is "unknown".
    """

    fields: tuple[str, ...]
    codes: Int[np.ndarray, "rows fields"]
    vocabularies: tuple[tuple[str, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of codes of each column, "unknown" included."""
        return tuple(len(vocabulary) for vocabulary in self.vocabularies)

    @property
    def columns(self) -> dict[str, slice]:
        """The columns of each field."""
        first = {field: self.fields.index(field) for field in self.fields}
        return {field: slice(c, c + self.fields.count(field)) for field, c in first.items()}

    def column(self, field: str) -> Int[np.ndarray, " rows"]:
        """The codes of one field, one per row: the first one if a row has several.

        Raises:
            KeyError: the table has no such field; the message lists its fields.
        """
        if field not in self.fields:
            raise KeyError(f"no field {field!r}; the fields are {', '.join(self.columns)}")
        return self.codes[:, self.fields.index(field)]

    def names(self, field: str) -> list[str]:
        """The values of one field as text, as `column` selects them (row 0 is "unknown")."""
        codes = self.column(field)
        vocabulary = self.vocabularies[self.fields.index(field)]
        return [vocabulary[code] for code in codes]

    def take(self, rows: Int[np.ndarray, " kept"]) -> FeatureTable:
        """Select rows and drop the values that no longer occur.

        Args:
            rows: `rows[0]` must be the padding row, 0.
        """
        kept, values = self.codes[rows], {}
        for field, columns in self.columns.items():
            used = np.unique(np.append(kept[:, columns], 0))
            codes = np.searchsorted(used, kept[:, columns])
            vocabulary = self.vocabularies[columns.start]
            values[field] = codes, tuple(vocabulary[code] for code in used)
        return _join(values)

    @staticmethod
    def from_frame(
        frame: pl.DataFrame,
        key: str,
        ids: pl.Series,
        fields: Sequence[str],
        missing: Missing,
        *,
        is_single: bool = False,
    ) -> FeatureTable:
        """Align the rows of a table with the ids of a log, and encode its fields.

        Args:
            frame: one row for each value of the column `key`. A column of lists is a field with
                several values, each of which counts once in a row.
            key: "item" or "user".
            ids: the original ids in the log's order; padding is not among them.
            missing: whether an id without a row is an error or has unknown features.
            is_single: whether each field must have one value.

        Raises:
            ValueError: a column is missing, an id occurs twice, (missing="error") has no row, or
                (is_single) a column has lists.
        """
        require_columns(f"the {key} table", frame.columns, [key, *fields])
        lists = [field for field in fields if isinstance(frame[field].dtype, pl.List)]
        if lists and is_single:
            raise ValueError(
                f"column {lists[0]!r} of the {key} table has lists; expected one value for each "
                f"{key}: join or select the values of each list first"
            )
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
        values = {}
        for field in fields:
            cells = pl.DataFrame({"row": np.arange(1, len(rows) + 1), "value": rows[field]})
            if field in lists:
                cells = cells.explode("value", empty_as_null=True, keep_nulls=True)
                cells = cells.unique(maintain_order=True)
            texts = to_text(cells["value"]).fill_null("")
            vocabulary = texts.filter(texts != "").unique().sort()
            known = cells.select("row", code=encode(texts, vocabulary)).drop_nulls().to_numpy()
            row, code = known.T
            position = np.arange(len(row)) - np.searchsorted(row, row)
            codes = np.zeros((len(rows) + 1, position.max(initial=0) + 1), np.int64)
            codes[row, position] = code
            values[field] = codes, ("unknown", *vocabulary.to_list())
        return _join(values)


def _join(
    fields: Mapping[str, tuple[Int[np.ndarray, "rows columns"], tuple[str, ...]]],
) -> FeatureTable:
    """Join the codes and vocabulary of each field, without columns that only hold code 0.

    The first column of a field is kept in any case.
    """
    names, parts, vocabularies = [], [], []
    for field, (codes, vocabulary) in fields.items():
        count = max(1, int((codes > 0).any(0).sum()))
        parts.append(codes[:, :count])
        names += [field] * count
        vocabularies += [vocabulary] * count
    return FeatureTable(tuple(names), np.hstack(parts), tuple(vocabularies))


def encode(values: pl.Series, vocabulary: pl.Series) -> pl.Series:
    """Replace each value by its position in the vocabulary, counted from 1; null if absent."""
    codes = pl.int_range(1, len(vocabulary) + 1, eager=True)
    return values.replace_strict(vocabulary, codes, default=None)


def to_text(values: pl.Series) -> pl.Series:
    """Convert values of a field to text, in training and serving; null and "" are unknown."""
    return values.cast(pl.String)


def require_columns(
    where: object, found: Sequence[str], wanted: Sequence[str], remedy: str = ""
) -> None:
    """Raise ValueError if a table does not have the wanted columns."""
    absent = [name for name in wanted if name not in found]
    if absent:
        raise ValueError(
            f"{where} has no column {', '.join(map(repr, absent))}; "
            f"its columns are {', '.join(map(repr, found)) or 'none'}{remedy and f': {remedy}'}"
        )
