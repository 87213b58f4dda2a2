"""A recommender that is made of a function (§3.5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mindlib.data import Histories
from mindlib.retrieval import Recommendations, Scorer, top_items


@dataclass(frozen=True)
class Scored:
    """Recommend the items with the highest scores.

    Attributes:
        score: returns a row of num_items + 1 scores for each history.
        num_items: the number of items.
    """

    score: Scorer
    num_items: int

    @torch.no_grad()
    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """See `Recommender.recommend`."""
        score, items = self.score, self.num_items
        return top_items(score, histories, n, items, exclude_history=exclude_history)
