"""Exact search: every item is scored, a block of them at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.retrieval import files
from mindlib.retrieval.index import check_items, check_known
from mindlib.retrieval.scores import SCORES_AT_ONCE, Recommendations, top_n

QUERIES_AT_ONCE = 64


class ExactIndex:
    """A `VectorIndex` that misses nothing. Memory: the vectors, and two blocks of scores.

    Args:
        items, ids: as `build`, which checks them.
    """

    def __init__(self, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> None:
        self.items = items
        self.ids = ids

    @property
    def dim(self) -> int:
        """d."""
        return self.items.shape[1]

    @classmethod
    def build(cls, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> ExactIndex:
        """See `VectorIndex.build`."""
        items, ids = check_items(items, ids)
        return cls(items.clone(), ids.clone())  # not the caller's, who may change his

    def add(self, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> None:
        """See `VectorIndex.add`."""
        items, ids = check_items(items, ids, dim=self.dim, known=self.ids)
        self.items, self.ids = torch.cat([self.items, items]), torch.cat([self.ids, ids])

    def remove(self, ids: Int[Tensor, " items"]) -> None:
        """See `VectorIndex.remove`."""
        kept = ~torch.isin(self.ids, check_known(ids, self.ids))
        self.items, self.ids = self.items[kept], self.ids[kept]

    def nearest(
        self,
        queries: Float[Tensor, "queries dim"],
        n: int,
        owners: Int[Tensor, " queries"] | None = None,
    ) -> Recommendations:
        """See `VectorIndex.nearest`."""
        parts = [self._nearest(part, n) for part in queries.split(QUERIES_AT_ONCE)]
        return Recommendations(
            torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
        )

    def _nearest(self, queries: Float[Tensor, "queries dim"], n: int) -> Recommendations:
        items = torch.zeros((len(queries), 0), dtype=torch.int64)
        scores = torch.zeros((len(queries), 0))
        step = SCORES_AT_ONCE // len(queries)
        for start in range(0, len(self.ids), step):
            block = queries @ self.items[start : start + step].T
            best = top_n(block, min(n, block.shape[1]))
            items = torch.cat([items, self.ids[best.items + start]], dim=1)
            scores = torch.cat([scores, best.scores], dim=1)
            if start:
                scores, order = scores.topk(min(n, scores.shape[1]))
                items = items.gather(1, order)
        return Recommendations(items, scores)

    def save(self, path: str | Path) -> None:
        """See `VectorIndex.save`."""
        stored = files.Stored(type(self).__name__, self.dim, self.ids, {"items": self.items}, {})
        files.write(path, stored)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        dim: int | None = None,
        ids: Int[Tensor, " items"] | None = None,
    ) -> ExactIndex:
        """See `VectorIndex.load`."""
        stored = files.read(path, cls.__name__, dim=dim, ids=ids)
        return cls(stored.tensors["items"], stored.ids)
