"""A model that begins with yesterday's weights, in a catalogue that has grown.

Rows of the embedding tables are matched by what they stand for (an item's id, a value of a field,
a word of titles) and not by their number: numbers shift whenever an item or a value appears.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from mindlib.data.interactions import Interactions
from mindlib.data.title_words import WORD
from mindlib.models.vector import VectorModel

ITEMS, PROFILE = "items.weight", "profile.weight"
# Whose row it is: the kind ("id", "field brand", "title word"), and the id, value or word. None
# is the value "unknown", which may be the name of a value as well.
Name = tuple[str, int | str | None]


@dataclass(frozen=True)
class RowNames:
    """What each row of a model's embedding tables stands for.

    Attributes:
        items: of the item table; None for a row that nothing looks up (row 0 is padding).
        profile: of the profile table.
    """

    items: tuple[Name | None, ...]
    profile: tuple[Name | None, ...]

    @staticmethod
    def from_model(model: VectorModel, log: Interactions) -> RowNames:
        """Those of a model, from the log that it was built with.

        Raises:
            ValueError: it was built with another log.
        """
        codes = model.items.codes.numpy(force=True)
        if len(codes) != log.num_items + 1:
            raise ValueError(
                f"the model has {len(codes) - 1} items, the log {log.num_items}; pass the log that "
                f"the model was built with"
            )
        names: dict[int, Name] = {}
        slot = 1
        for row, item in enumerate(log.item_ids[1:].tolist(), 1):
            names[row] = ("id", item)
        if log.item_features:
            for field in log.item_features.fields:
                _record(names, codes[:, slot], log.item_features.names(field), f"field {field}")
                slot += 1
        if slot < codes.shape[1]:
            for column in _title_words(log.titles or (), codes.shape[1] - slot):
                _record(names, codes[:, slot], column, "title word")
                slot += 1
        if len(set(names.values())) != len(names):
            doubled = sorted(map(str, _doubled(names.values())))[:3]
            raise ValueError(
                f"the log and the model disagree: {', '.join(doubled)} would have several rows; "
                f"pass the log that the model was built with"
            )
        rows = len(model.items.weight)
        profile: list[Name | None] = []
        if log.profiles and len(model.profile.weight):
            for field, words in zip(log.profiles.fields, log.profiles.vocabularies, strict=True):
                profile += [(field, None), *((field, word) for word in words[1:])]
        if len(profile) != len(model.profile.weight):
            raise ValueError(
                f"the model has {len(model.profile.weight)} profile values, the log "
                f"{len(profile)}; pass the log that the model was built with"
            )
        return RowNames(tuple(names.get(row) for row in range(rows)), tuple(profile))

    def to_json(self) -> str:
        """As text; `from_json` reads it."""
        return json.dumps(vars(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> RowNames:
        """What `to_json` wrote."""
        content = json.loads(text)
        items, profile = (
            tuple(tuple(name) if name else None for name in content[key])
            for key in ("items", "profile")
        )
        return RowNames(items, profile)


@dataclass(frozen=True)
class WarmStart:
    """What a model took over.

    Attributes:
        carried: rows of the item table that have yesterday's weights.
        fresh: rows that keep their initialisation, for nothing of that name was there.
    """

    carried: int
    fresh: int


@torch.no_grad()
def warm_start(
    model: VectorModel, log: Interactions, weights: Mapping[str, Tensor], names: RowNames
) -> WarmStart:
    """Put yesterday's weights into a new model, in place.

    Rows of the two embedding tables go to where the same name is now; rows of names that are new
    keep their fresh initialisation, rows of names that are gone are dropped. Everything else must
    have the shape it had, and is taken as it is. The optimiser's moments are not carried over.

    Args:
        model: freshly built with `log`.
        log: tonight's.
        weights: yesterday's `state_dict`.
        names: what the rows of yesterday's tables were.

    Raises:
        ValueError: the weights do not fit: those of another kind or size of model, or other names
            than theirs. The model is then untouched.
    """
    here = model.state_dict()
    ours = RowNames.from_model(model, log)
    for name in sorted(here.keys() | weights.keys()):
        by_row = name in (ITEMS, PROFILE)
        shapes = [tuple(w[name].shape[by_row:]) if name in w else None for w in (weights, here)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"yesterday's {name} has the shape {shapes[0] or 'of nothing'}, tonight's "
                f"{shapes[1] or 'of nothing'}{' (a row)' if by_row else ''}; give the model the "
                f"configuration that it had yesterday, or train from scratch"
            )
    for name, theirs in ((ITEMS, names.items), (PROFILE, names.profile)):
        if len(weights[name]) != len(theirs):
            raise ValueError(
                f"yesterday's {name} has {len(weights[name])} rows and {len(theirs)} names; pass "
                f"the names that were kept with these weights"
            )
    for name, weight in here.items():
        if name not in (ITEMS, PROFILE):
            weight.copy_(weights[name])
    _carry(here[PROFILE], weights[PROFILE], _matches(ours.profile, names.profile))
    matched = _matches(ours.items, names.items)
    _carry(here[ITEMS], weights[ITEMS], matched)
    return WarmStart(carried=len(matched), fresh=sum(map(bool, ours.items)) - len(matched))


def _carry(new: Tensor, old: Tensor, matched: Int[np.ndarray, "rows two"]) -> None:
    to, source = torch.from_numpy(matched).T
    new[to] = old[source].to(new)


def _matches(
    ours: Iterable[Name | None], theirs: Iterable[Name | None]
) -> Int[np.ndarray, "rows two"]:
    """(our row, their row) of each name that both have."""
    there = {name: row for row, name in enumerate(theirs) if name is not None}
    pairs = [(row, there[name]) for row, name in enumerate(ours) if name in there]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _record(
    names: dict[int, Name], rows: Int[np.ndarray, " items"], words: list[str], kind: str
) -> None:
    """Name the rows that the items of a slot look up."""
    looked_up = pl.DataFrame({"row": rows, "word": words}).filter(pl.col("row") > 0).unique()
    for row, word in looked_up.sort("row").iter_rows():
        if names.setdefault(row, (kind, word)) != (kind, word):
            raise ValueError(
                f"the log and the model disagree: row {row} would be both {names[row]} and "
                f"{(kind, word)}; pass the log that the model was built with"
            )


def _doubled(names: Iterable[Name]) -> set[Name]:
    seen: set[Name] = set()
    return {name for name in names if name in seen or seen.add(name)}


def _title_words(titles: Iterable[str], slots: int) -> list[list[str]]:
    """The words behind the codes of `encode_titles`, a column for each place."""
    frame = pl.DataFrame({"title": list(titles)}).with_row_index("row")
    words = (
        frame.select("row", word=pl.col("title").str.to_lowercase().str.extract_all(WORD))
        .explode("word")
        .drop_nulls()
        .unique(maintain_order=True)
        .filter(pl.len().over("word") > 1)
        .with_columns(place=pl.int_range(pl.len()).over("row"))
        .filter(pl.col("place") < slots)
    )
    columns = [[""] * len(frame) for _ in range(slots)]
    for row, word, place in words.select("row", "word", "place").iter_rows():
        columns[place][row] = word
    return columns
