"""GAUC: the probability that a target is ranked above another candidate of the same user's list.

- AUC_u: the fraction of the pairs (target, other) of one user's candidates in which the target has
  the higher score; a tie counts one half. It is undefined if all or none of them are targets.
- GAUC = sum n_u AUC_u / sum n_u over the users with a defined AUC_u; n_u is the number of their
  candidates (impressions). Unlike the AUC over all pairs, it depends on the order of the lists
  alone, and not on predicting which users are more active.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
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

    Raises:
        ValueError: a score is NaN, or no list has both a target and another candidate.
    """
    shown = lists.items > 0
    scores = scorer.score_lists(lists.histories, lists.items).cpu()[shown].double().numpy()
    labels = lists.labels[shown].numpy()
    users = lists.histories.users.cpu()[:, None].expand_as(lists.items)[shown].numpy()
    areas, sizes = auc_by_group(labels, scores, users)
    if not len(areas):
        raise ValueError(
            f"{len(labels)} candidates with {int(labels.sum())} targets: no user has both a target "
            f"and another candidate, so that no order can be evaluated; give longer lists, or more "
            f"users"
        )
    return RankingQuality(float(areas @ sizes / sizes.sum()), areas, len(lists.items))


def auc_by_group(
    labels: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, " evaluated"], Int[np.ndarray, " evaluated"]]:
    """Return AUC_u and n_u of all users with a defined AUC_u, in the order of the groups.

    By the Mann-Whitney statistic: the sum of the targets' ranks in their group, with mean ranks
    for ties, minus p (p + 1) / 2 for p targets, is the number of pairs in the right order. All
    groups are ranked at once, which a call of scikit-learn for each of them would not do.

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError(
            f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN and cannot be ordered; "
            f"check the model's weights"
        )
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    by_group_and_score = group * (len(scores) + 1) + rankdata(scores, "dense").astype(np.int64)
    rank = rankdata(by_group_and_score) - starts[group]
    targets = np.bincount(group, weights=labels)
    won = np.bincount(group, weights=rank * labels) - targets * (targets + 1) / 2
    pairs = targets * (sizes - targets)
    defined = pairs > 0
    return won[defined] / pairs[defined], sizes[defined]
