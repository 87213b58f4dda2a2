"""Warm start: copy the weights of a model into a new one whose catalogue has changed.

Rows of the embedding tables are matched by name (the id of an item, the value of a field, a word of
titles), because a new item or value shifts the row numbers of others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mindlib.data.interactions import Interactions
from mindlib.data.title_words import split_titles
from mindlib.models.vector_model import VectorModel

ITEMS, PROFILE = "items.weight", "profile.weight"
# The kind of a row ("id", "field brand", "title word", a profile field) and the id, value or word;
# None is the value "unknown", because a value may have that name, too.
Name = tuple[str, int | str | None]


@dataclass(frozen=True)
class RowNames:
    """The names of the rows of a model's embedding tables.

    Attributes:
        items: rows of the item table; None for unused rows (row 0 is padding).
        profile: rows of the profile table.
    """

    items: tuple[Name | None, ...]
    profile: tuple[Name | None, ...]

    @staticmethod
    def from_model(model: VectorModel, log: Interactions) -> RowNames:
        """Derive the names from a model and the log that it was built with.

        Raises:
            ValueError: the model was built with another log.
        """
        codes = model.items.codes.numpy(force=True)
        _check_log(len(codes) == log.num_items + 1, f"{len(codes) - 1} items", f"{log.num_items}")
        names: dict[int, Name] = {
            row: ("id", item) for row, item in enumerate(log.item_ids[1:].tolist(), 1)
        }
        features = log.item_features
        columns: list[tuple[str, list[str]]] = []
        if features:
            parts = zip(features.fields, features.vocabularies, features.codes.T, strict=True)
            columns = [(f"field {f}", [values[code] for code in part]) for f, values, part in parts]
        num_word_slots = codes.shape[1] - 1 - len(columns)
        if log.titles and num_word_slots:
            columns += [("title word", [""] * len(codes)) for _ in range(num_word_slots)]
            words = split_titles(log.titles, max_words=num_word_slots)
            for row, word, slot in words.select("row", "word", "position").iter_rows():
                columns[slot - num_word_slots][1][row] = word
        for slot, (kind, values) in enumerate(columns, 1):
            for row, value in set(zip(codes[:, slot].tolist(), values, strict=True)):
                if row and names.setdefault(row, (kind, value)) != (kind, value):
                    _check_log(False, f"row {row} for {names[row]}", f"it for {(kind, value)}")
        repeated = [name for name, count in Counter(names.values()).items() if count > 1]
        _check_log(not repeated, f"several rows for {sorted(map(str, repeated))[:3]}", "one")
        profile: list[Name | None] = []
        rows = len(model.profile.weight)
        if log.profiles and rows:
            for field, values in zip(log.profiles.fields, log.profiles.vocabularies, strict=True):
                profile += [(field, None), *((field, value) for value in values[1:])]
        _check_log(len(profile) == rows, f"{rows} profile values", f"{len(profile)}")
        return RowNames(
            tuple(names.get(row) for row in range(len(model.items.weight))), tuple(profile)
        )

    def to_json(self) -> str:
        """Serialize the names as text."""
        return json.dumps(vars(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> RowNames:
        """Parse the output of `to_json`."""
        content = json.loads(text)
        items, profile = (
            tuple(tuple(name) if name else None for name in content[key])
            for key in ("items", "profile")
        )
        return RowNames(items, profile)


class CopiedRows(NamedTuple):
    """Numbers of rows of the item table with previous weights and with a random initialization."""

    copied: int
    new: int


@torch.no_grad()
def warm_start(
    model: VectorModel, log: Interactions, weights: Mapping[str, Tensor], names: RowNames
) -> CopiedRows:
    """Copy previous weights into a new model, in place.

    Rows of the two embedding tables are copied to the rows of the same name. Rows with new names
    keep their random initialization, and rows whose names no longer exist are dropped. All other
    weights must have the same shape and are copied unchanged. The optimizer starts anew.

    Args:
        model: newly built with `log`.
        log: of this refresh.
        weights: the previous `state_dict`.
        names: of the previous tables' rows.

    Raises:
        ValueError: the weights are of another model or size, or the names of other weights. The
            model is then unchanged.
    """
    target = model.state_dict()
    own = RowNames.from_model(model, log)
    for name in sorted(target.keys() | weights.keys()):
        by_row = name in (ITEMS, PROFILE)
        old, new = (tuple(w[name].shape[by_row:]) if name in w else None for w in (weights, target))
        if old != new:
            raise ValueError(
                f"{name}: the previous shape{' of a row' if by_row else ''} is {old or 'missing'}, "
                f"the new one {new or 'missing'}; use the previous model configuration, or train "
                f"from scratch"
            )
    for name, previous in ((ITEMS, names.items), (PROFILE, names.profile)):
        if len(weights[name]) != len(previous):
            raise ValueError(
                f"the previous {name} has {len(weights[name])} rows and {len(previous)} names; "
                f"pass the names that were saved with these weights"
            )
    for name, weight in target.items():
        if name not in (ITEMS, PROFILE):
            weight.copy_(weights[name])
    _copy_rows(target[PROFILE], weights[PROFILE], own.profile, names.profile)
    copied = _copy_rows(target[ITEMS], weights[ITEMS], own.items, names.items)
    return CopiedRows(copied, sum(name is not None for name in own.items) - copied)


def _copy_rows(
    new: Tensor, old: Tensor, new_names: Iterable[Name | None], old_names: Iterable[Name | None]
) -> int:
    """Copy each row whose name both tables have, and return the number of rows."""
    old_rows = {name: row for row, name in enumerate(old_names) if name is not None}
    pairs = [(row, old_rows[name]) for row, name in enumerate(new_names) if name in old_rows]
    target, source = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    new[target] = old[source].to(new)
    return len(pairs)


def _check_log(matches: bool, model: str, log: str) -> None:
    if not matches:
        raise ValueError(
            f"the model has {model}, the log {log}: they disagree; pass the log that the model was "
            f"built with"
        )
