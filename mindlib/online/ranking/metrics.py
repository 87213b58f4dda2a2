"""GAUC: the probability that a target is ranked above another candidate of the same user's list.

- AUC_u: the fraction of the pairs (target, other) of one user's candidates in which the target has
  the higher score; a tie counts one half. It is undefined if all or none of them are targets.
- GAUC = sum n_u AUC_u / sum n_u over the users with a defined AUC_u; n_u is the number of their
  candidates (impressions). It depends on the order of each list alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from mindlib.online.ranking.lists import CandidateLists, CandidateScorer


@dataclass(frozen=True)
class RankingQuality:
    """GAUC of the order of candidate lists.

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
