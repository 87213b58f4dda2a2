"""Matching and ranking together, as one more thing to compare (§5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mindlib.data.histories import Histories
from mindlib.online.ranking.lists import CandidateScorer
from mindlib.retrieval import Recommendations, Recommender


@dataclass(frozen=True)
class Reranked:
    """A `Recommender` that lets a ranker put another one's candidates into order.

    Attributes:
        recall: finds the candidates.
        ranker: orders them.
        candidates: how many are asked for (1,000 in §5); never fewer than are recommended.
        num_items: of the catalogue, which may have fewer.
    """

    recall: Recommender
    ranker: CandidateScorer
    num_items: int
    candidates: int = 1000

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ValueError(f"candidates={self.candidates}: expected at least 1")

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """The n candidates that the ranker puts first, with its scores."""
        wanted = max(n, min(self.candidates, self.num_items))
        found = self.recall.recommend(histories, wanted, exclude_history=exclude_history).items
        scores = self.ranker.score_lists(histories, found)
        best = scores.masked_fill(found == 0, -torch.inf).topk(n)
        return Recommendations(found.gather(1, best.indices), best.values)
