"""Item-based collaborative filtering: what served most of Tmall before MIND (§4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.splits import Split
from mindlib.models.counts import history_counts, training_counts
from mindlib.retrieval import Recommendations, top_items

Similarity = Literal["cosine", "bm25"]


@dataclass(frozen=True)
class ItemCFConfig:
    """What item-based CF is fitted with.

    The similarity and the number of neighbours are chosen as the defaults of `WALSConfig` are.

    Attributes:
        similarity: of two items, as columns of the users' counts. "cosine": the cosine. "bm25":
            the inner product after BM25, by which a busy user and a popular item weigh less.
        neighbors: the most similar items that each item keeps (itself may be one of them).
        k1, b: of BM25: how soon repeated purchases stop to count, and how much popular items lose.
    """

    similarity: Similarity = "cosine"
    neighbors: int = 200
    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        if self.similarity not in ("cosine", "bm25"):
            raise ValueError(f"similarity={self.similarity!r}: expected 'cosine' or 'bm25'")
        if self.neighbors < 1:
            raise ValueError(f"neighbors={self.neighbors}: expected at least 1")
        if not (self.k1 >= 0 and math.isfinite(self.k1)):
            raise ValueError(f"k1={self.k1}: expected a number >= 0")
        if not 0 <= self.b <= 1:
            raise ValueError(f"b={self.b}: expected 0 (popular items lose nothing) to 1")


@dataclass(frozen=True)
class ItemCF:
    """An item's score is its similarity to each behaviour, summed over the past.

    Items that are nobody's neighbour score 0. The similarities are implicit's
    (`pip install mindlib[baselines]`).

    Attributes:
        similarity: a sparse matrix; row i has the neighbours of item i + 1.
    """

    similarity: Any  # a csr_matrix, which scipy declares too loosely to multiply with

    @staticmethod
    def fit(split: Split, config: ItemCFConfig | None = None) -> ItemCF:
        """Fit on the training events of `split`.

        Raises:
            ImportError: implicit is not installed.
        """
        try:
            from implicit import nearest_neighbours as untyped
        except ImportError as error:
            raise ImportError("ItemCF needs implicit: pip install 'mindlib[baselines]'") from error
        implicit: Any = untyped  # its defaults are narrower than what it takes
        config = config or ItemCFConfig()
        by_item = training_counts(split).T
        if config.similarity == "cosine":
            weighted = implicit.normalize(by_item)
        else:
            weighted = implicit.bm25_weight(by_item, config.k1, config.b)
        model = implicit.ItemItemRecommender(config.neighbors, num_threads=torch.get_num_threads())
        model.fit(weighted.T.tocsr(), show_progress=False)
        return ItemCF(model.similarity)

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """The n items most similar to each past."""
        num_items = self.similarity.shape[0]

        def score(part: Histories) -> Float[Tensor, "users items"]:
            # A product of sparse matrices, and not implicit's loop over users.
            scores = (history_counts(part, num_items) @ self.similarity).toarray()
            return torch.nn.functional.pad(torch.from_numpy(scores).float(), (1, 0))

        return top_items(score, histories.to("cpu"), n, num_items, exclude_history=exclude_history)
