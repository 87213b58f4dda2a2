"""The columnar log that everything starts from (§4.1): who met which item, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

MILLISECONDS_FROM = 10**11  # as seconds, this is the year 5138: a log in milliseconds


@dataclass(frozen=True)
class FeatureTable:
    """Categorical fields of items (category, brand, …) or of users (age, income, …).

    Attributes:
        fields: the names of the fields.
        codes: shape (rows + 1, fields); row 0 is padding, code 0 means "unknown".
        vocabularies: for each field the name of each code; code 0 is "unknown".
    """

    fields: tuple[str, ...]
    codes: Int[np.ndarray, "rows fields"]
    vocabularies: tuple[tuple[str, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of codes of each field, "unknown" included."""
        return tuple(len(vocabulary) for vocabulary in self.vocabularies)

    def column(self, field: str) -> Int[np.ndarray, " rows"]:
        """The codes of one field, a row each.

        Raises:
            KeyError: the table has no such field; the message names those it has.
        """
        if field not in self.fields:
            raise KeyError(f"no field {field!r}; the fields are {', '.join(self.fields)}")
        return self.codes[:, self.fields.index(field)]

    def names(self, field: str) -> list[str]:
        """The value of one field in words, a row each (row 0, padding, is "unknown")."""
        vocabulary = self.vocabularies[self.fields.index(field)]
        return [vocabulary[code] for code in self.column(field)]

    def take(self, rows: Int[np.ndarray, " kept"]) -> FeatureTable:
        """The same table for a selection of rows, without the values that no longer occur.

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
        frame: pl.DataFrame,
        key: str,
        ids: pl.Series,
        fields: Sequence[str],
        missing: Literal["error", "unknown"],
        what: str,
    ) -> FeatureTable:
        """Line up `frame` (a row for each value of `key`) with `ids`, and encode its `fields`.

        Raises:
            ValueError: a column is absent, a key is doubled, or (missing="error") an id has no row.
        """
        _require_columns(frame, [key, *fields], f"the {what} table")
        frame = frame.with_columns(_same_type(frame[key], ids).alias(key))
        doubled = frame.filter(pl.col(key).is_duplicated())[key]
        if len(doubled):
            raise ValueError(
                f"the {what} table has {doubled.n_unique()} ids more than once, "
                f"the first is {doubled[0]!r}; keep one row for each {key}"
            )
        absent = ids.filter(~ids.is_in(frame[key].implode()))
        if len(absent) and missing == "error":
            raise ValueError(
                f"{len(absent)} of {len(ids)} {what} ids of the log have no row in the {what} "
                f"table, the first is {absent[0]!r}; add their rows, or pass "
                f'missing="unknown" to let their features be unknown'
            )
        rows = ids.alias(key).to_frame().join(frame, on=key, how="left", maintain_order="left")
        codes, vocabularies = [], []
        for field in fields:
            values = words(rows[field]).fill_null("")
            names = values.filter(values != "").unique().sort()
            index = pl.DataFrame({"name": names, "code": np.arange(1, len(names) + 1)})
            joined = (
                values.alias("name")
                .to_frame()
                .join(index, on="name", how="left", maintain_order="left")
            )
            codes.append(np.r_[0, joined["code"].fill_null(0).to_numpy()].astype(np.int64))
            vocabularies.append(("unknown", *names.to_list()))
        return FeatureTable(tuple(fields), np.stack(codes, axis=1), tuple(vocabularies))


@dataclass(frozen=True)
class Interactions:
    """A log of interactions, sorted by user and then by time, with contiguous ids.

    Users are 1..num_users and items 1..num_items; 0 is padding in both. Events of one user with
    the same timestamp are one *step* (a basket): none of them is another's past.

    Attributes:
        users, items, timestamps: shape (events,), sorted by user, then timestamp.
        user_ids, item_ids: the original id of each contiguous id; entry 0 is None.
        item_features, profiles: categorical fields of items and of users, if there are any.
        titles: a readable name for each item, its original id where none is known (entry 0 is
            empty), if the data have titles.
        name: what the data set is called in tables and figures.
    """

    users: Int[np.ndarray, " events"]
    items: Int[np.ndarray, " events"]
    timestamps: Int[np.ndarray, " events"]
    user_ids: np.ndarray
    item_ids: np.ndarray
    item_features: FeatureTable | None = None
    profiles: FeatureTable | None = None
    titles: tuple[str, ...] | None = None
    name: str = "log"

    def __len__(self) -> int:
        return len(self.users)

    @property
    def num_users(self) -> int:
        return len(self.user_ids) - 1

    @property
    def num_items(self) -> int:
        return len(self.item_ids) - 1

    @cached_property
    def offsets(self) -> Int[np.ndarray, " users_plus_two"]:
        """Where each user's events start: user u's are `offsets[u]` to `offsets[u + 1]`."""
        return np.searchsorted(self.users, np.arange(self.num_users + 2))

    @cached_property
    def step_starts(self) -> Int[np.ndarray, " events"]:
        """For each event the index at which its own step starts: its past ends there."""
        new_step = np.ones(len(self), dtype=bool)
        new_step[1:] = (np.diff(self.users) != 0) | (np.diff(self.timestamps) != 0)
        return np.maximum.accumulate(np.where(new_step, np.arange(len(self)), 0))

    def label(self, item: int) -> str:
        """What to call an item in a figure: its title, or else its original id."""
        return self.titles[item] if self.titles is not None else str(self.item_ids[item])

    def describe(self) -> dict[str, Any]:
        """The figures that one wants to see first."""
        steps = np.bincount(self.users[np.unique(self.step_starts)], minlength=self.num_users + 1)[
            1:
        ]
        events = np.diff(self.offsets)[1:]
        return {
            "users": self.num_users,
            "items": self.num_items,
            "interactions": len(self),
            "density": len(self) / (self.num_users * self.num_items),
            "median interactions per user": float(np.median(events)),
            "median steps per user": float(np.median(steps)),
            "median interactions per item": float(np.median(self.item_counts()[1:])),
        }

    def item_counts(self) -> Int[np.ndarray, " items_plus_one"]:
        """How often each item occurs; entry 0 is 0."""
        return np.bincount(self.items, minlength=self.num_items + 1)

    def select(self, keep: Bool[np.ndarray, " events"], name: str | None = None) -> Interactions:
        """The log of the kept events; users and items that lose all of theirs disappear.

        Raises:
            ValueError: nothing is kept.
        """
        if not keep.any():
            raise ValueError(f"no interaction of {self.name!r} is left; keep at least one")
        user_rows = np.unique(np.r_[0, self.users[keep]])
        item_rows = np.unique(np.r_[0, self.items[keep]])
        features, profiles, titles = self.item_features, self.profiles, self.titles
        return Interactions(
            users=np.searchsorted(user_rows, self.users[keep]),
            items=np.searchsorted(item_rows, self.items[keep]),
            timestamps=self.timestamps[keep],
            user_ids=self.user_ids[user_rows],
            item_ids=self.item_ids[item_rows],
            item_features=features.take(item_rows) if features else None,
            profiles=profiles.take(user_rows) if profiles else None,
            titles=tuple(titles[row] for row in item_rows) if titles else None,
            name=name or self.name,
        )

    def drop_repeats(self) -> Interactions:
        """Only the first interaction of each user with each item: the log of discoveries."""
        pairs = self.users * (self.num_items + 1) + self.items
        keep = np.zeros(len(self), dtype=bool)
        keep[np.unique(pairs, return_index=True)[1]] = True
        return self.select(keep)

    def k_core(self, k: int) -> Interactions:
        """Drop users and items with fewer than k interactions until none is left.

        Raises:
            ValueError: k < 1, or nothing survives; the message says how large the log was.
        """
        if k < 1:
            raise ValueError(f"k={k}: a k-core needs k >= 1")
        keep = np.ones(len(self), dtype=bool)
        while True:
            users = np.bincount(self.users[keep], minlength=self.num_users + 1) >= k
            items = np.bincount(self.items[keep], minlength=self.num_items + 1) >= k
            kept = keep & users[self.users] & items[self.items]
            if not kept.any():
                raise ValueError(
                    f"the {k}-core of {self.name!r} is empty: of {len(self):,} interactions of "
                    f"{self.num_users:,} users with {self.num_items:,} items none survives; "
                    f"choose a smaller k"
                )
            if kept.sum() == keep.sum():
                return self.select(kept)
            keep = kept

    @staticmethod
    def from_frames(
        log: pl.DataFrame,
        items: pl.DataFrame | None = None,
        users: pl.DataFrame | None = None,
        *,
        item_fields: Sequence[str] = (),
        profile_fields: Sequence[str] = (),
        title: str | None = None,
        missing: Literal["error", "unknown"] = "error",
        name: str = "log",
    ) -> Interactions:
        """Build the log from polars frames.

        Args:
            log: columns user, item, timestamp (seconds, or a date, or a datetime). Rows with the
                same user and timestamp keep their order and count as one step.
            items: column item and the columns named by `item_fields` and `title`.
            users: column user and the columns named by `profile_fields`.
            missing: whether an id of the log without a row in `items` or `users` is an error or
                has unknown features.

        Raises:
            ValueError: a column is missing or empty or of the wrong type, a timestamp is NaN,
                negative or in milliseconds, an id is doubled in a table or absent from it.
        """
        _require_columns(log, ["user", "item", "timestamp"], "the log")
        if (items is None and (item_fields or title)) or (users is None and profile_fields):
            raise ValueError(
                "fields or a title are named without a table to take them from; pass `items` for "
                "item_fields and title, `users` for profile_fields"
            )
        if log.is_empty():
            raise ValueError("the log has no rows; it needs at least one interaction")
        for column in ("user", "item", "timestamp"):
            if log[column].null_count():
                raise ValueError(
                    f"column {column!r} of the log has {log[column].null_count()} empty values; "
                    f"drop those rows or fill them"
                )
        for column in ("user", "item"):
            kind = log[column].dtype
            if not (kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Enum)):
                raise ValueError(
                    f"column {column!r} of the log is {kind}; expected whole numbers or text: "
                    f"cast it first"
                )
        log = log.select("user", "item", _seconds(log["timestamp"]).alias("timestamp"))
        user_ids, item_ids = log["user"].unique().sort(), log["item"].unique().sort()
        encoded = log.with_columns(
            _encode(log["user"], user_ids), _encode(log["item"], item_ids)
        ).sort("user", "timestamp", maintain_order=True)
        features = profiles = titles = None
        if items is not None and (item_fields or title):
            wanted = [*item_fields, *([title] if title and title not in item_fields else [])]
            table = FeatureTable.from_frame(items, "item", item_ids, wanted, missing, "item")
            if title:
                known = table.column(title) > 0
                ids = ["", *map(str, item_ids.to_list())]
                titles = tuple(np.where(known, table.names(title), ids).tolist())
            if item_fields:
                count = len(item_fields)
                features = FeatureTable(
                    table.fields[:count], table.codes[:, :count], table.vocabularies[:count]
                )
        if users is not None and profile_fields:
            profiles = FeatureTable.from_frame(
                users, "user", user_ids, profile_fields, missing, "user"
            )
        return Interactions(
            users=encoded["user"].to_numpy().astype(np.int64),
            items=encoded["item"].to_numpy().astype(np.int64),
            timestamps=encoded["timestamp"].to_numpy().astype(np.int64),
            user_ids=np.array([None, *user_ids.to_list()], dtype=object),
            item_ids=np.array([None, *item_ids.to_list()], dtype=object),
            item_features=features,
            profiles=profiles,
            titles=titles,
            name=name,
        )


def words(values: pl.Series) -> pl.Series:
    """The values of a categorical field as its vocabulary writes them; null and "" are unknown.

    A log and a request at serving must be read alike: both come through here.
    """
    return values.cast(pl.String)


def _require_columns(frame: pl.DataFrame, columns: Sequence[str], where: str) -> None:
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise ValueError(
            f"{where} has no column {', '.join(map(repr, absent))}; "
            f"its columns are {', '.join(map(repr, frame.columns)) or 'none'}"
        )


def _same_type(key: pl.Series, ids: pl.Series) -> pl.Series:
    try:
        return key.cast(ids.dtype)
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"column {key.name!r} is {key.dtype} in the feature table and {ids.dtype} in the log, "
            f"and cannot be converted; give both the same type"
        ) from error


def _encode(values: pl.Series, ids: pl.Series) -> pl.Series:
    codes = pl.DataFrame({values.name: ids, "code": np.arange(1, len(ids) + 1)})
    joined = values.to_frame().join(codes, on=values.name, how="left", maintain_order="left")
    return joined["code"].alias(values.name)


def _seconds(time: pl.Series) -> pl.Series:
    """Timestamps as whole seconds since 1970, checked."""
    if time.dtype in (pl.Date, pl.Datetime):
        time = time.cast(pl.Datetime("us")).dt.epoch("s")
    elif not time.dtype.is_numeric():
        raise ValueError(
            f"column 'timestamp' is {time.dtype}; expected seconds (a number), a date or a "
            f"datetime: convert it first"
        )
    if time.dtype.is_float() and not time.is_finite().all():
        raise ValueError("column 'timestamp' has NaN or infinite values; drop those rows")
    values = time.to_numpy()
    low, high = float(values.min()), float(values.max())
    if low < 0:
        raise ValueError(f"column 'timestamp' has the negative value {low:g}; expected >= 0")
    if high >= MILLISECONDS_FROM:
        raise ValueError(
            f"column 'timestamp' has the value {high:.0f}, which as seconds lies beyond the year "
            f"5138; divide milliseconds by 1000"
        )
    return time.cast(pl.Int64)
