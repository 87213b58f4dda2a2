"""The mapping from a store's own ids and values to a model's codes, for serving (§3.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from mindlib.data.feature_table import to_text
from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions

ItemId = int | str
MAX_LISTED = 10  # ids in an error message


class UnknownItems(ValueError):
    """A request has `items`, in the store's ids, that are not in the catalogue."""

    def __init__(self, items: Sequence[ItemId], expected: str) -> None:
        self.items = tuple(items)
        listed = ", ".join(map(repr, self.items[:MAX_LISTED]))
        more = len(self.items) - MAX_LISTED
        super().__init__(
            f"{len(self.items)} items are not in the catalogue: {listed}"
            f"{f' and {more} more' if more > 0 else ''}; expected {expected}. "
            f"Catalogue.drop_unknown drops such items"
        )


@dataclass(frozen=True)
class Request:
    """The history and profile of one user in the store's own ids and values.

    Attributes:
        items: the original ids of the user's behaviours, oldest first.
        profile: the value of each profile field; a field that is missing is unknown.
    """

    items: Sequence[ItemId]
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalogue:
    """The items that a model was trained with, and the values of its profile fields.

    Attributes:
        item_ids: the original id of each item; item 1 is the first.
        fields: the profile fields.
        vocabularies: for each field the value of each code; code 0 is "unknown".
    """

    item_ids: tuple[ItemId, ...]
    fields: tuple[str, ...] = ()
    vocabularies: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.item_ids)

    @staticmethod
    def from_log(log: Interactions) -> Catalogue:
        """Build the catalogue of a log; it depends on the log's ids, not on its events."""
        profiles = log.profiles
        return Catalogue(
            tuple(log.item_ids[1:].tolist()),
            profiles.fields if profiles else (),
            profiles.vocabularies if profiles else (),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of codes of each profile field, "unknown" included."""
        return tuple(len(vocabulary) for vocabulary in self.vocabularies)

    @cached_property
    def fingerprint(self) -> str:
        """A checksum: equal for catalogues that encode every id and value equally."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Serialize the catalogue deterministically; `from_json` reads it."""
        content = {key: getattr(self, key) for key in ("item_ids", "fields", "vocabularies")}
        return json.dumps(content, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Catalogue:
        """Read a catalogue that `to_json` has written."""
        content = json.loads(text)
        vocabularies = tuple(map(tuple, content["vocabularies"]))
        return Catalogue(tuple(content["item_ids"]), tuple(content["fields"]), vocabularies)

    def drop_unknown(self, items: Sequence[ItemId]) -> list[ItemId]:
        """Drop items that are not in the catalogue: new ones, or ones that a k-core removed.

        Training treats them equally, because a log contains only its own items.
        """
        return [item for item in items if item in self._item_codes]

    def encode_items(self, items: Sequence[ItemId]) -> list[int]:
        """Convert original ids to the model's item ids, or raise UnknownItems."""
        unknown = [item for item in items if item not in self._item_codes]
        if unknown:
            kinds = {"text" if isinstance(i, str) else "whole numbers" for i in self.item_ids}
            raise UnknownItems(unknown, f"ids of the log ({' or '.join(sorted(kinds))})")
        return [self._item_codes[item] for item in items]

    def encode_profile(self, profile: Mapping[str, Any]) -> list[int]:
        """Convert a profile to codes; a value that is missing or not in the log has code 0.

        Values are compared as text, like those of the log: 35 equals "35", but not "35.0".

        Raises:
            ValueError: there is no such field, or a value is neither text nor a number nor None.
        """
        unexpected = [name for name in profile if name not in self.fields]
        if unexpected:
            raise ValueError(
                f"the profile has {', '.join(map(repr, unexpected))}; the catalogue's fields are "
                f"{', '.join(map(repr, self.fields)) or 'none'}"
            )
        return [
            codes.get(_value_to_text(name, profile.get(name)), 0)
            for name, codes in zip(self.fields, self._value_codes, strict=True)
        ]

    def encode_requests(self, requests: Sequence[Request]) -> Histories:
        """Convert requests to the histories that a model's `interests` takes.

        Raises:
            UnknownItems, ValueError: as `encode_items` and `encode_profile` raise them.
        """
        behaviors = [self.encode_items(request.items) for request in requests]
        profiles = [self.encode_profile(request.profile) for request in requests]
        return Histories.from_lists(behaviors, profiles if self.fields else None)

    @cached_property
    def _item_codes(self) -> dict[ItemId, int]:
        return {item: code for code, item in enumerate(self.item_ids, 1)}

    @cached_property
    def _value_codes(self) -> tuple[dict[str | None, int], ...]:
        # Code 0 is left out: its name, "unknown", may also be a value.
        return tuple(
            {name: code for code, name in enumerate(vocabulary) if code > 0}
            for vocabulary in self.vocabularies
        )


def _value_to_text(name: str, value: Any) -> str | None:
    try:
        return to_text(pl.Series([value])).item()
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise ValueError(
            f"profile field {name!r} has the value {value!r}; expected text, a number or None"
        ) from error
