"""Exact search: every item is scored, for a block of users at a time.

In a large catalog, most items are scored in int8 only (`mindlib.retrieval.int8`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.tensor_file import TensorFile
from mindlib.retrieval.index import VectorIndex, check_items, digest_items
from mindlib.retrieval.int8 import Int8Items, has_fast_int8
from mindlib.retrieval.scores import (
    BLOCK_SIZE,
    MAX_SCORES,
    Recommendations,
    concatenate,
    score_by_best_interest,
    top_n,
)

MIN_INT8_ITEMS = 100_000  # with fewer, float32 is as fast


class ExactIndex(VectorIndex):
    """An index with a recall of 1, of arguments that `build` has checked."""

    def __init__(
        self, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"], source: str
    ) -> None:
        self.items = items
        self.ids = ids
        self.source = source
        self.dim = items.shape[1]
        is_large = len(items) >= MIN_INT8_ITEMS
        self.int8 = Int8Items(items) if is_large and has_fast_int8() else None

    @classmethod
    def build(cls, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> ExactIndex:
        items, ids = check_items(items, ids)
        # Copies, because the caller may change their tensors.
        return cls(items.clone(), ids.clone(), digest_items(items, ids))

    def best(
        self,
        interests: Float[Tensor, "users interests dim"],
        active: Bool[Tensor, "users interests"],
        n: int,
    ) -> Recommendations:
        """See `VectorIndex.best`: the maximum over the interests needs no merging."""
        if len(active) == 1 and active.any():  # one user has vectors of active interests only
            interests, active = interests[:, active[0]], active[:, active[0]]
        # The interest that stands for the inactive ones must be the first; without any, it is 0.
        vectors = torch.where(active[:, :, None], interests, 0)
        vectors[:, 0] = vectors[torch.arange(len(active)), active.int().argmax(1)]
        is_used = active | (torch.arange(active.shape[1]) == 0)
        vectors = torch.where(is_used[:, :, None], vectors, vectors[:, :1])
        none, parts = torch.zeros((2, 0), dtype=torch.int64), []
        for part in vectors.split(max(1, MAX_SCORES // len(self.ids))):
            if self.int8 and n <= len(self.ids) // (2 * BLOCK_SIZE):
                parts.append(self.int8.top(part, n, none))
            else:
                every = torch.ones(part.shape[:2], dtype=torch.bool)
                parts.append(top_n(score_by_best_interest(part, every, self.items), n))
        items, scores = concatenate(parts)
        items = self.ids[items].masked_fill(~active.any(1, keepdim=True), 0)
        return Recommendations(items, scores.masked_fill(items == 0, -torch.inf))

    def _state(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"items": self.items}, {}

    @classmethod
    def _restore(cls, content: TensorFile, folder: Path) -> ExactIndex:
        return cls(content.tensors["items"], content.tensors["ids"], content.facts["source"])
