"""The columnar log of interactions (§4.1): which user interacted with which item, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from mindlib.data.feature_table import FeatureTable, Missing, encode, require_columns
from mindlib.data.filtering import filter_by_count
from mindlib.data.log_folder import read_log, write_log
from mindlib.data.option_types import check_option
from mindlib.data.timestamps import check_fractions, to_seconds


@dataclass(frozen=True)
class Interactions:
    """A log of interactions, sorted by user and then by time, with contiguous ids.

    Users are 1..num_users and items 1..num_items; 0 is padding in both. Events of one user with
    the same timestamp are one *step* (a basket): none of them belongs to another's history.

    Attributes:
        users, items, timestamps: shape (events,), sorted by user, then timestamp.
        user_ids, item_ids: the original id of each contiguous id; entry 0 is None.
        item_features, profiles: categorical fields of items and of users, if there are any.
        titles: a readable name for each item, its original id where none is known (entry 0 is
            empty), if the data have titles.
        name: the data set's name in tables and figures.
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
        """Where each user's events start: user u has `offsets[u]` to `offsets[u + 1]`."""
        return np.searchsorted(self.users, np.arange(self.num_users + 2))

    def step_starts(self, events: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """For each event the index of the first event of its step: its history ends there."""
        times, low, high = self.timestamps[events], self.offsets[self.users[events]], events
        while (low < high).any():  # binary search
            middle = (low + high) // 2
            is_earlier = self.timestamps[middle] < times
            low, high = np.where(is_earlier, middle + 1, low), np.where(is_earlier, high, middle)
        return low

    def label(self, item: int) -> str:
        """The item's name in figures: its title, or else its original id."""
        return self.titles[item] if self.titles is not None else str(self.item_ids[item])

    def item_categories(self, field: str) -> Int[np.ndarray, " items_plus_one"]:
        """The code of each item in one of the item fields; 0 is unknown (entry 0 is padding).

        Raises:
            ValueError: the items have no such field; the message lists their fields.
        """
        features = self.item_features
        if features is None or field not in features.fields:
            raise ValueError(
                f"category={field!r}: expected one of the item fields of {self.name!r} "
                f"({', '.join(features.columns) if features else 'it has none'})"
            )
        return np.ascontiguousarray(features.column(field))

    def describe(self) -> dict[str, Any]:
        """Summary statistics: sizes, density, and the median lengths of histories."""
        events = np.arange(len(self))
        users = self.users[self.step_starts(events) == events]
        steps = np.bincount(users, minlength=self.num_users + 1)[1:]
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
        """The number of events of each item; entry 0 is 0."""
        return np.bincount(self.items, minlength=self.num_items + 1)

    def select(self, keep: Bool[np.ndarray, " events"]) -> Interactions:
        """Keep some events (at least one), and only the users and items that still have any."""
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
            name=self.name,
        )

    def drop_repeats(self) -> Interactions:
        """Keep only the first interaction of each user with each item."""
        pairs = self.users * (self.num_items + 1) + self.items
        keep = np.zeros(len(self), dtype=bool)
        keep[np.unique(pairs, return_index=True)[1]] = True
        return self.select(keep)

    def k_core(self, k: int) -> Interactions:
        """Drop users and items with fewer than k interactions until none is left.

        Raises:
            ValueError: k < 1, or no interaction remains; the message has the log's size.
        """
        log = pl.DataFrame({"user": self.users, "item": self.items}).with_row_index("event")
        keep = np.zeros(len(self), dtype=bool)
        keep[filter_by_count(log, k, "k-core", self.name)["event"].to_numpy()] = True
        return self.select(keep)

    def save(self, folder: str | Path) -> None:
        """Write the log to a new folder that `open` and `load` read, completely or not at all.

        Raises:
            OSError: the folder exists and is not empty, or cannot be written.
        """
        log = {field.name: getattr(self, field.name) for field in fields(self)}
        write_log(Path(folder), log)

    @staticmethod
    def open(folder: str | Path) -> Interactions:
        """Open a folder that `save` wrote; its arrays stay on disk and are read where needed.

        Raises:
            FileNotFoundError, ValueError: the folder is not a log, or is damaged.
        """
        return Interactions(**read_log(Path(folder)))

    @staticmethod
    def from_frames(
        log: pl.DataFrame,
        items: pl.DataFrame | None = None,
        users: pl.DataFrame | None = None,
        *,
        item_fields: Sequence[str] = (),
        profile_fields: Sequence[str] = (),
        title: str | None = None,
        missing: Missing = "error",
        name: str = "log",
    ) -> Interactions:
        """Build the log from polars frames.

        Args:
            log: columns user, item, timestamp (seconds, or a date, or a datetime). Rows with the
                same user and timestamp keep their order and form one step.
            items: column item and the columns named by `item_fields` and `title`. A field whose
                column has lists (genres, say) has several values.
            users: column user and the columns named by `profile_fields`.
            missing: whether an id of the log without a row in `items` or `users` is an error or
                has unknown features.

        Raises:
            ValueError: a column is missing or empty or of the wrong type; a timestamp is NaN,
                negative or in milliseconds; all are dates written as numbers (20171125); dropping
                the fractions of seconds would merge two steps of a user; a whole number of an id
                exceeds 2^63 - 1; or an id occurs twice in a table or is missing there.
        """
        check_option("missing", missing, Missing)
        require_columns("the log", log.columns, ["user", "item", "timestamp"])
        if (items is None and (item_fields or title)) or (users is None and profile_fields):
            raise ValueError(
                "fields or a title are named without a table to take them from; pass `items` for "
                "item_fields and title, `users` for profile_fields"
            )
        _check_columns(log)
        seconds = to_seconds(log["timestamp"])
        check_fractions(log, seconds)
        user_ids, item_ids = log["user"].unique().sort(), log["item"].unique().sort()
        encoded = pl.DataFrame(
            {
                "user": encode(log["user"], user_ids),
                "item": encode(log["item"], item_ids),
                "timestamp": seconds,
            }
        ).sort("user", "timestamp", maintain_order=True)
        features = profiles = titles = None
        if items is not None and title:
            table = FeatureTable.from_frame(
                items, "item", item_ids, [title], missing, is_single=True
            )
            ids, codes = ["", *map(str, item_ids.to_list())], table.column(title)
            known = zip(codes, table.names(title), ids, strict=True)
            titles = tuple(name if code else own for code, name, own in known)
        if items is not None and item_fields:
            features = FeatureTable.from_frame(items, "item", item_ids, item_fields, missing)
        if users is not None and profile_fields:
            profiles = FeatureTable.from_frame(
                users, "user", user_ids, profile_fields, missing, is_single=True
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


def _check_columns(log: pl.DataFrame) -> None:
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
        if kind.is_integer() and log[column].cast(pl.Int64, strict=False).has_nulls():
            raise ValueError(
                f"column {column!r} of the log has the value {log[column].max()}; expected whole "
                f"numbers up to 2^63 - 1: cast it to text"
            )
