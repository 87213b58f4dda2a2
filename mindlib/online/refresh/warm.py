"""Warm start: copy the weights of a model into a new one whose catalogue has changed.

Rows of the embedding tables are matched by name (the id of an item, the value of a field, a word of
titles), because a new item or value shifts the row numbers of others.
"""

from __future__ import annotations

import json
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
        """Derive the state from a model and the log that it was built with."""
        codes = model.items.codes.numpy(force=True)
        names: dict[int, Name] = {
            row: ("id", item) for row, item in enumerate(log.item_ids[1:].tolist(), 1)
        }
        num_words = codes.shape[1] - 1
        if features := log.item_features:
            num_words -= len(features.fields)
            columns = zip(features.fields, features.vocabularies, features.codes.T, strict=True)
            for slot, (field, values, own) in enumerate(columns, 1):
                for row, code in zip(codes[:, slot].tolist(), own.tolist(), strict=True):
                    names[row] = (f"field {field}", values[code])
        if log.titles and num_words:
            words = split_titles(log.titles)
            for item, word, position in words.select("row", "word", "position").iter_rows():
                names[int(codes[item, position - num_words])] = ("title word", word)
        names.pop(0, None)  # padding, and values that the model leaves out
        profile: list[Name | None] = []
        if log.profiles and len(model.profile.weight):
            for field, values in zip(log.profiles.fields, log.profiles.vocabularies, strict=True):
                profile += [(field, None), *((field, value) for value in values[1:])]
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


@torch.no_grad()
def warm_start(model: VectorModel, log: Interactions, previous: WarmState) -> dict[str, int]:
    """Copy previous weights into a new model, in place, and count the rows of the item table.

    Rows of the two embedding tables are copied to the rows of the same name. Rows with new names
    keep their random initialization, and rows whose names no longer exist are dropped. All other
    weights must have the same shape and are copied unchanged. The optimizer starts anew.

    Args:
        model: newly built with `log`.

    Returns:
        The number of rows that are "copied", and of "new" ones with a random initialization.

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
    for name, table in zip(tables, TABLES, strict=True):
        old_rows = {row_name: row for row, row_name in enumerate(previous.names[table]) if row_name}
        rows = [(n, old_rows[own]) for n, own in enumerate(new.names[table]) if own in old_rows]
        target, source = torch.tensor(rows, dtype=torch.int64).reshape(-1, 2).T
        new.weights[name][target] = weights[name][source].to(new.weights[name])
    named, known = (set(state.names["items"]) - {None} for state in (new, previous))
    return {"copied": len(named & known), "new": len(named - known)}
