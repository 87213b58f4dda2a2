"""Exact search: every item is scored, a block of items at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.retrieval.files import IndexContents
from mindlib.retrieval.index import VectorIndex, check_items, digest_items
from mindlib.retrieval.scores import MAX_SCORES, Recommendations, concatenate, top_n

QUERY_BATCH = 64


class ExactIndex(VectorIndex):
    """An index with a recall of 1, of arguments that `build` has checked."""

    def __init__(
        self, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"], source: str
    ) -> None:
        self.items = items
        self.ids = ids
        self.source = source
        self.dim = items.shape[1]

    @classmethod
    def build(cls, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> ExactIndex:
        items, ids = check_items(items, ids)
        # Copies, because the caller may change their tensors.
        return cls(items.clone(), ids.clone(), digest_items(items, ids))

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
