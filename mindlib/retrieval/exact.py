"""Exact search: every item is scored, a block of items at a time.

In a large catalog, most items are scored in int8 only (`mindlib.retrieval.int8`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.retrieval.files import IndexContents
from mindlib.retrieval.index import VectorIndex, check_items, digest_items
from mindlib.retrieval.int8 import Int8Items, has_fast_int8
from mindlib.retrieval.scores import (
    MAX_SCORES,
    Recommendations,
    concatenate,
    score_by_best_interest,
    top_n,
)

QUERY_BATCH = 64
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
        step = 1 if self.int8 else max(1, MAX_SCORES // len(self.ids))
        parts = [Recommendations(torch.zeros((0, n), dtype=torch.int64), torch.zeros((0, n)))]
        for start in range(0, len(active), step):
            users = slice(start, start + step)
            parts.append(self._best(interests[users], active[users], n))
        items, scores = concatenate(parts)
        items = self.ids[items].masked_fill(~active.any(1, keepdim=True), 0)
        return Recommendations(items, scores.masked_fill(items == 0, -torch.inf))

    def _best(
        self,
        interests: Float[Tensor, "users interests dim"],
        active: Bool[Tensor, "users interests"],
        n: int,
    ) -> Recommendations:
        """Return the positions of the n best items of users."""
        if self.int8 and active.any() and (found := self.int8.top(interests[active], n)):
            return found
        # The interest that stands for the inactive ones must be the first; without any, it is 0.
        first = active.int().argmax(1)
        vectors = torch.where(active[:, :, None], interests, 0)
        vectors[:, 0] = vectors[torch.arange(len(active)), first]
        is_used = active | (torch.arange(active.shape[1]) == 0)
        return top_n(score_by_best_interest(vectors, is_used, self.items), n)

    def nearest(
        self, queries: Float[Tensor, "queries dim"], n: int, owners: Int[Tensor, " queries"]
    ) -> Recommendations:
        return concatenate([self._nearest(part, n) for part in queries.split(QUERY_BATCH)])

    def _nearest(self, queries: Float[Tensor, "queries dim"], n: int) -> Recommendations:
        items = torch.zeros((len(queries), 0), dtype=torch.int64)
        scores = torch.zeros((len(queries), 0))
        step = MAX_SCORES // len(queries)
        for start in range(0, len(self.ids), step):
            block = queries @ self.items[start : start + step].T
            best = top_n(block, min(n, block.shape[1]))
            items = torch.cat([items, self.ids[best.items + start]], dim=1)
            scores = torch.cat([scores, best.scores], dim=1)
            if start:
                scores, order = scores.topk(min(n, scores.shape[1]))
                items = items.gather(1, order)
        return Recommendations(items, scores)

    def _state(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"items": self.items}, {}

    @classmethod
    def _restore(cls, contents: IndexContents, folder: Path) -> ExactIndex:
        return cls(contents.tensors["items"], contents.ids, contents.source)
