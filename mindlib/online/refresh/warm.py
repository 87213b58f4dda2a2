"""Warm start: copy the weights of a model into a new one whose catalogue has changed.

Rows of the embedding tables are matched by name (the id of an item, the value of a field, a word of
titles), because a new item or value shifts the row numbers of others.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mindlib.data.interactions import Interactions
from mindlib.data.tensor_file import TensorFile, read_tensors, write_tensors
from mindlib.data.title_words import split_titles
from mindlib.models.vector_model import VectorModel

FORMAT = "mindlib weights 1"
# The kind of a row ("id", "field brand", "title word", a profile field) and the id, value or word;
# None is the value "unknown", because a value may have that name, too.
Name = tuple[str, int | str | None]
TABLES = ("items", "profile")  # the embedding tables whose rows have names


class WarmState(NamedTuple):
    """What a warm start needs of a trained model.

    Attributes:
        weights: its `state_dict`.
        names: for each of `TABLES` the names of its rows; None for unused rows (row 0 of the item
            table is padding).
    """

    weights: dict[str, Tensor]
    names: dict[str, tuple[Name | None, ...]]

    @staticmethod
    def from_model(model: VectorModel, log: Interactions) -> WarmState:
        """Derive the state from a model and the log that it was built with.

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
        items = tuple(names.get(row) for row in range(len(model.items.weight)))
        return WarmState(model.state_dict(), {"items": items, "profile": tuple(profile)})

    def save(self, path: Path) -> None:
        """Write one file; errors as of `write_tensors`."""
        rows = json.dumps(self.names, separators=(",", ":"))
        write_tensors(path, FORMAT, TensorFile(self.weights, {"rows": rows}))

    @staticmethod
    def load(path: Path) -> WarmState:
        """Read the output of `save`; errors as of `read_tensors`."""
        remedy = "train from scratch: pass RefreshConfig(warm_start=None)"
        weights, facts = read_tensors(path, FORMAT, remedy)
        rows = json.loads(facts["rows"])
        names = {
            table: tuple(tuple(name) if name else None for name in rows[table]) for table in TABLES
        }
        return WarmState(weights, names)


class CopiedRows(NamedTuple):
    """Numbers of rows of the item table with previous weights and with a random initialization."""

    copied: int
    new: int


@torch.no_grad()
def warm_start(model: VectorModel, log: Interactions, previous: WarmState) -> CopiedRows:
    """Copy previous weights into a new model, in place.

    Rows of the two embedding tables are copied to the rows of the same name. Rows with new names
    keep their random initialization, and rows whose names no longer exist are dropped. All other
    weights must have the same shape and are copied unchanged. The optimizer starts anew.

    Args:
        model: newly built with `log`.
        log: of this refresh.

    Raises:
        ValueError: the weights are of another model or size. The model is then unchanged.
    """
    weights, new = previous.weights, WarmState.from_model(model, log)
    tables = [f"{table}.weight" for table in TABLES]
    for name in sorted(new.weights.keys() | weights.keys()):
        by_row = name in tables
        old_shape, shape = (
            tuple(state[name].shape[by_row:]) if name in state else None
            for state in (weights, new.weights)
        )
        if old_shape != shape:
            raise ValueError(
                f"{name}: the previous shape{' of a row' if by_row else ''} is "
                f"{old_shape or 'missing'}, the new one {shape or 'missing'}; use the previous "
                f"model configuration, or train from scratch"
            )
    for name, weight in new.weights.items():
        if name not in tables:
            weight.copy_(weights[name])
    copied = {}
    for name, table in zip(tables, TABLES, strict=True):
        old_rows = {row_name: row for row, row_name in enumerate(previous.names[table]) if row_name}
        rows = [(n, old_rows[own]) for n, own in enumerate(new.names[table]) if own in old_rows]
        target, source = torch.tensor(rows, dtype=torch.int64).reshape(-1, 2).T
        new.weights[name][target] = weights[name][source].to(new.weights[name])
        copied[table] = len(rows)
    named = sum(name is not None for name in new.names["items"])
    return CopiedRows(copied["items"], named - copied["items"])


def _check_log(matches: bool, model: str, log: str) -> None:
    if not matches:
        raise ValueError(
            f"the model has {model}, the log {log}: they disagree; pass the log that the model was "
            f"built with"
        )
