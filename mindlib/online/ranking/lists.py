"""Candidates retrieved by matching: labelled lists of them, and the quality of their order (§5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.splits import Cases
from mindlib.retrieval import InterestModel, Recommendations, Recommender

# Memory bound: candidates x interests scored at a time.
MAX_SCORES = 1 << 22


@runtime_checkable
class CandidateScorer(Protocol):
    """Anything that scores candidates: DIN, or a matching model by its own scores."""

    def score_lists(
        self, histories: Histories, items: Int[Tensor, "lists n"]
    ) -> Float[Tensor, "lists n"]:
        """Return a score for each candidate, higher is better; any number where the id is 0."""
        ...


@dataclass(frozen=True)
class CandidateLists:
    """The candidates that matching retrieved for each history, and which of them came next.

    Attributes:
        histories: one for each list.
        items: the candidates; 0 where a list is shorter.
        labels: True for the targets among them.
    """

    histories: Histories
    items: Int[Tensor, "lists n"]
    labels: Bool[Tensor, "lists n"]


def build_candidate_lists(cases: Cases, recall: Recommender, n: int) -> CandidateLists:
    """Retrieve the candidates of each case, without items of its history, and label them.

    A target that matching missed is in no list, because no order could recover it.

    Args:
        n: candidates of each history (1,000 in §5), at most the size of the catalogue.
    """
    n = min(n, cases.num_items)
    items = recall.recommend(cases.histories, n, exclude_history=True).items.cpu()
    width = cases.num_items + 1
    targets = cases.rows * width + cases.targets
    candidates = torch.arange(len(items))[:, None] * width + items
    return CandidateLists(cases.histories, items, torch.isin(candidates, targets))


@dataclass(frozen=True)
class TwoTower:
    """A matching model as a ranker, by the score that it retrieves by: max_k v_k'e_i (Eq. 3)."""

    model: InterestModel

    def score_lists(
        self, histories: Histories, items: Int[Tensor, "lists n"]
    ) -> Float[Tensor, "lists n"]:
        """Return the largest inner product of each candidate with an active interest."""
        vectors, active = self.model.interests(histories)
        table = self.model.item_vectors()
        rows = max(1, MAX_SCORES // max(1, items.shape[1] * table.shape[1]))
        parts = zip(items.split(rows), vectors.split(rows), active.split(rows), strict=True)
        scores = (
            (table[candidates] @ own.mT).masked_fill(~is_active[:, None], -torch.inf).amax(2)
            for candidates, own, is_active in parts
        )
        return torch.cat(list(scores))


@dataclass(frozen=True)
class Reranked:
    """A `Recommender` that orders the candidates of another one by a ranking model.

    Attributes:
        recall: retrieves the candidates.
        ranker: orders them.
        num_items: size of the catalogue, which bounds `candidates`.
        candidates: number of candidates (1,000 in §5), or of recommendations if that is larger.
    """

    recall: Recommender
    ranker: CandidateScorer
    num_items: int
    candidates: int = 1000

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Return the n candidates with the highest scores of the ranker."""
        num_candidates = max(n, min(self.candidates, self.num_items))
        candidates = self.recall.recommend(
            histories, num_candidates, exclude_history=exclude_history
        ).items
        scores = self.ranker.score_lists(histories, candidates)
        best = scores.masked_fill(candidates == 0, -torch.inf).topk(n)
        return Recommendations(candidates.gather(1, best.indices), best.values)


@dataclass(frozen=True)
class RankingQuality:
    """GAUC: the probability that a target is ranked above another candidate of the same list.

    - AUC_u: the fraction of the pairs (target, other) of one user's candidates in which the target
      has the higher score; a tie counts one half. It is undefined if all or none are targets.
    - GAUC = sum n_u AUC_u / sum n_u over the users with a defined AUC_u; n_u is the number of their
      candidates (impressions). It depends on the order of each list alone.

    Attributes:
        areas: AUC_u of the users whose lists have both a target and another candidate.
        lists: number of all lists.
    """

    gauc: float
    areas: Float[np.ndarray, " evaluated"] = field(repr=False)
    lists: int


def evaluate_ranker(scorer: CandidateScorer, lists: CandidateLists) -> RankingQuality:
    """Evaluate a scorer on candidate lists; compare scorers on the same lists only.

    AUC_u by the Mann-Whitney statistic: the sum of the targets' ranks in their list, with mean
    ranks for ties, minus p (p + 1) / 2 for p targets, is the number of pairs in the right order.
    All lists are ranked at once, which a call of scikit-learn for each of them would not do.

    Raises:
        ValueError: a score is NaN, or no list has both a target and another candidate.
    """
    shown, labels = (lists.items > 0).numpy(), lists.labels.numpy()
    scores = scorer.score_lists(lists.histories, lists.items).double().numpy(force=True)
    if invalid := int(np.isnan(scores[shown]).sum()):
        raise ValueError(
            f"{invalid} of {shown.sum()} scores are NaN and cannot be ordered; check the model's "
            f"weights"
        )
    scores = np.where(shown, scores, -np.inf)  # padding has the lowest ranks
    ranks = rankdata(scores, axis=1) - (~shown).sum(1, keepdims=True)
    targets, sizes = labels.sum(1), shown.sum(1)
    pairs = targets * (sizes - targets)
    won = (ranks * labels).sum(1) - targets * (targets + 1) / 2
    defined = pairs > 0
    if not defined.any():
        raise ValueError(
            f"{sizes.sum()} candidates with {targets.sum()} targets: no user has both a target "
            f"and another candidate, so that no order can be evaluated; give longer lists, or more "
            f"users"
        )
    areas, sizes = won[defined] / pairs[defined], sizes[defined]
    return RankingQuality(float(areas @ sizes / sizes.sum()), areas, len(lists.items))
