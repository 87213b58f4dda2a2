"""What a store's own ids and values mean to a model: how a request becomes a history (§3.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions, words

ItemId = int | str
# Ids that a message lists before it only counts.
LISTED = 10


class UnknownItems(ValueError):
    """A request has items that the catalogue lacks.

    Attributes:
        items: these items, as they were asked for.
    """

    def __init__(self, items: Sequence[ItemId], expected: str) -> None:
        self.items = tuple(items)
        listed = ", ".join(map(repr, self.items[:LISTED]))
        more = f" and {len(self.items) - LISTED} more" if len(self.items) > LISTED else ""
        super().__init__(
            f"{len(self.items)} items are not in the catalogue: {listed}{more}; "
            f"expected {expected}. Catalogue.drop_unknown drops such items and counts them"
        )


class KnownItems(NamedTuple):
    """The items that a catalogue has, in their order, and how many it lacks."""

    items: list[ItemId]
    dropped: int


@dataclass(frozen=True)
class Request:
    """One user, in the words of the store.

    Attributes:
        items: the original ids of her behaviours, oldest first.
        profile: the value of each profile field; a field that is missing is unknown.
    """

    items: Sequence[ItemId]
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalogue:
    """The items that a model was trained with, and the words of its profile fields.

    Attributes:
        item_ids: the original id of each item; item 1 is the first.
        fields: the profile fields.
        vocabularies: for each field the name of each code; code 0 is "unknown".
    """

    item_ids: tuple[ItemId, ...]
    fields: tuple[str, ...] = ()
    vocabularies: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.item_ids)

    @staticmethod
    def from_log(log: Interactions) -> Catalogue:
        """That of a log; its events do not matter."""
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
        """A checksum: two catalogues with the same one give every id and value the same number."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The catalogue as text, always the same; `from_json` reads it."""
        content = {key: getattr(self, key) for key in ("item_ids", "fields", "vocabularies")}
        return json.dumps(content, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Catalogue:
        """What `to_json` wrote."""
        content = json.loads(text)
        vocabularies = tuple(map(tuple, content["vocabularies"]))
        return Catalogue(tuple(content["item_ids"]), tuple(content["fields"]), vocabularies)

    def drop_unknown(self, items: Sequence[ItemId]) -> KnownItems:
        """Leave out what the catalogue lacks: new items, or items that a k-core has dropped.

        Such a behaviour was no behaviour in training either: a log has only its own items.
        """
        kept = [item for item in items if item in self._numbers]
        return KnownItems(kept, len(items) - len(kept))

    def encode_items(self, items: Sequence[ItemId]) -> list[int]:
        """The model's number of each item.

        Raises:
            UnknownItems: the catalogue lacks some of them; the message lists them.
        """
        unknown = [item for item in items if item not in self._numbers]
        if unknown:
            kinds = {"text" if isinstance(i, str) else "whole numbers" for i in self.item_ids}
            raise UnknownItems(unknown, f"ids of the log ({' or '.join(sorted(kinds))})")
        return [self._numbers[item] for item in items]

    def encode_profile(self, profile: Mapping[str, Any]) -> list[int]:
        """The code of each profile field; 0 for a value that the log has never seen, as for none.

        A value is compared as text, as the log's own were: 35 is "35", and not "35.0".

        Raises:
            ValueError: there is no such field, or a value is neither text nor a number nor None.
        """
        strange = [name for name in profile if name not in self.fields]
        if strange:
            raise ValueError(
                f"the profile has {', '.join(map(repr, strange))}; the catalogue's fields are "
                f"{', '.join(map(repr, self.fields)) or 'none'}"
            )
        return [
            codes.get(_word(name, profile.get(name)), 0)
            for name, codes in zip(self.fields, self._codes, strict=True)
        ]

    def encode_requests(self, requests: Sequence[Request]) -> Histories:
        """The pasts of some users in the model's numbers: what its `interests` takes.

        From here on a request goes the way of training: `Histories.window` cuts and pads it.

        Raises:
            UnknownItems, ValueError: as `encode_items` and `encode_profile`.
        """
        behaviors = [self.encode_items(request.items) for request in requests]
        profiles = [self.encode_profile(request.profile) for request in requests]
        return Histories.from_lists(behaviors, profiles if self.fields else None)

    @cached_property
    def _numbers(self) -> dict[ItemId, int]:
        return {item: number for number, item in enumerate(self.item_ids, 1)}

    @cached_property
    def _codes(self) -> tuple[dict[str | None, int], ...]:
        # Without "unknown", which is the name of code 0 and may be that of a value as well.
        return tuple(
            {name: code for code, name in enumerate(vocabulary) if code > 0}
            for vocabulary in self.vocabularies
        )


def _word(name: str, value: Any) -> str | None:
    try:
        return words(pl.Series([value])).item()
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise ValueError(
            f"profile field {name!r} has the value {value!r}; expected text, a number or None"
        ) from error
