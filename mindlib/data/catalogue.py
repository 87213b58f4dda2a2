"""The mapping from a store's own ids and values to a model's codes, for serving (§3.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from mindlib.data.feature_table import to_text
from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions

ItemId = int | str
MAX_LISTED = 10  # ids in an error message


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
        """Convert original ids to the model's item ids; ValueError names those it does not have."""
        unknown = [item for item in items if item not in self._item_codes]
        if unknown:
            listed = ", ".join(map(repr, unknown[:MAX_LISTED]))
            more = f" and {len(unknown) - MAX_LISTED} more" if len(unknown) > MAX_LISTED else ""
            kinds = {"text" if isinstance(i, str) else "whole numbers" for i in self.item_ids}
            raise ValueError(
                f"{len(unknown)} items are not in the catalogue: {listed}{more}; expected ids of "
                f"the log ({' or '.join(sorted(kinds))}). Catalogue.drop_unknown drops such items"
            )
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

    def encode_requests(
        self, behaviors: Sequence[Sequence[ItemId]], profiles: Sequence[Mapping[str, Any]]
    ) -> Histories:
        """Convert behaviors, oldest first, and profiles to what a model's `interests` takes.

        Raises:
            ValueError: as `encode_items` and `encode_profile` raise it, or one of the users has no
                profile; it may be empty.
        """
        items, codes = map(self.encode_items, behaviors), map(self.encode_profile, profiles)
        return Histories.from_lists(list(items), list(codes))

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
