"""Exact search: every item is scored, a block of items at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.retrieval import files
from mindlib.retrieval.index import check_items
from mindlib.retrieval.scores import MAX_SCORES, Recommendations, concatenate, top_n

QUERY_BATCH = 64


class ExactIndex:
    """A `VectorIndex` with a recall of 1. It stores the vectors and two blocks of scores.

    Args:
        items, ids: as `build`, which checks them.
    """

    def __init__(self, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> None:
        self.items = items
        self.ids = ids

    @property
    def dim(self) -> int:
        """The dimension d of the vectors."""
        return self.items.shape[1]

    @classmethod
    def build(cls, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> ExactIndex:
        """See `VectorIndex.build`."""
        items, ids = check_items(items, ids)
        return cls(items.clone(), ids.clone())  # the caller may change their tensors

    def nearest(
        self,
        queries: Float[Tensor, "queries dim"],
        n: int,
        owners: Int[Tensor, " queries"] | None = None,
    ) -> Recommendations:
        """See `VectorIndex.nearest`."""
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

    def save(self, path: str | Path) -> None:
        """See `VectorIndex.save`."""
        name = type(self).__name__
        files.write(path, files.IndexContents(name, self.dim, self.ids, {"items": self.items}, {}))

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        dim: int | None = None,
        ids: Int[Tensor, " items"] | None = None,
    ) -> ExactIndex:
        """See `VectorIndex.load`."""
        contents = files.read(path, cls.__name__, dim=dim, ids=ids)
        return cls(contents.tensors["items"], contents.ids)
