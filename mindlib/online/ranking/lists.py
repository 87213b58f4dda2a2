"""Lists of candidates with what became of them: what a ranking stage is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.splits import Cases
from mindlib.retrieval import InterestModel, Recommender

# Scores held at once: candidates x interests.
MAX_SCORES = 1 << 22


@runtime_checkable
class CandidateScorer(Protocol):
    """What gives each candidate of each past a score: DIN, or a matching model by its own."""

    def score_lists(
        self, histories: Histories, items: Int[Tensor, "lists n"]
    ) -> Float[Tensor, "lists n"]:
        """A score for each candidate, the higher the better; any number where the id is 0."""
        ...


@dataclass(frozen=True)
class CandidateLists:
    """For each past the candidates that matching found, and which of them came next.

    Attributes:
        histories: the pasts.
        items: the candidates of each; 0 where fewer were found.
        labels: True for the targets among them.
    """

    histories: Histories
    items: Int[Tensor, "lists n"]
    labels: Bool[Tensor, "lists n"]


def build_candidate_lists(cases: Cases, recall: Recommender, n: int) -> CandidateLists:
    """The lists as the ranking stage meets them, without what the user has had already.

    A target that matching has missed is in no list: no order could bring it back.

    Args:
        n: candidates of each past (1,000 in §5), or the whole catalogue if it has fewer.
    """
    n = min(n, cases.num_items)
    items = recall.recommend(cases.histories, n, exclude_history=True).items.cpu()
    width = cases.num_items + 1
    wanted = cases.rows * width + cases.targets
    found = torch.arange(len(items))[:, None] * width + items
    return CandidateLists(cases.histories, items, torch.isin(found, wanted))


@dataclass(frozen=True)
class TwoTower:
    """A matching model as a ranker: max_k v_k'e_i (Eq. 3), the score that it retrieved by."""

    model: InterestModel

    def score_lists(
        self, histories: Histories, items: Int[Tensor, "lists n"]
    ) -> Float[Tensor, "lists n"]:
        """The best interest's inner product with each candidate."""
        vectors, active = self.model.interests(histories)
        table = self.model.item_vectors()
        at_once = max(1, MAX_SCORES // max(1, items.shape[1] * table.shape[1]))
        parts = [table.new_empty((0, items.shape[1]))]
        for start in range(0, len(items), at_once):
            part = slice(start, start + at_once)
            products = table[items[part]] @ vectors[part].mT
            parts.append(products.masked_fill(~active[part, None], -torch.inf).amax(2))
        return torch.cat(parts)
