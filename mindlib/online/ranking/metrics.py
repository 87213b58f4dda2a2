"""AUC and GAUC: how often a taken item stands above one that was not.

- AUC: of all pairs (taken, not taken) the share whose taken item has the higher score; a tie
  counts one half. Pairs are formed across users as well, so it also rewards knowing who takes
  much, which no list needs.
- AUC_u: the same of one user's candidates. It does not exist where she took all of them or none.
- GAUC = sum n_u AUC_u / sum n_u over the users for whom it exists; n_u is the number of her
  candidates (impressions). This is what the order of a list depends on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mindlib.online.ranking.lists import CandidateLists, CandidateScorer


def auc(labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> float:
    """AUC over all impressions.

    Raises:
        ValueError: a score is NaN, or all labels are the same.
    """
    return gauc(labels, scores, np.zeros(len(labels), dtype=np.int64))


def gauc(
    labels: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
) -> float:
    """GAUC.

    Args:
        labels: which impressions were taken.
        scores: the ranker's.
        groups: whose impression each is.

    Raises:
        ValueError: a score is NaN, or nobody took some of her candidates and not others.
    """
    areas, sizes = auc_by_group(labels, scores, groups)
    if not len(areas):
        raise ValueError(
            f"{len(labels)} impressions of which {int(labels.sum())} were taken: no user has both "
            f"kinds, so that there is no order to judge; give longer lists, or more users"
        )
    return float(areas @ sizes / sizes.sum())


def auc_by_group(
    labels: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, " evaluated"], Int[np.ndarray, " evaluated"]]:
    """AUC_u and n_u of every user for whom AUC_u exists, in the order of the groups.

    By Mann and Whitney: the taken items' ranks, ties sharing their mean, add up to the number of
    pairs won, ties by half, and p (p + 1) / 2 of the pairs among the p taken themselves.

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError(
            f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN and have no place in "
            f"an order; look for what made them"
        )
    if not len(labels):
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    order = np.lexsort((scores, groups))
    labels, scores, groups = labels[order], scores[order], groups[order]
    place = np.arange(len(labels))
    first_of_group = np.r_[True, groups[1:] != groups[:-1]]
    first_of_tie = first_of_group | np.r_[True, scores[1:] != scores[:-1]]
    group, tie = np.cumsum(first_of_group) - 1, np.cumsum(first_of_tie) - 1
    starts, ties = place[first_of_group], place[first_of_tie]
    last = np.r_[ties[1:], len(labels)] - 1
    rank = (ties + last)[tie] / 2 - starts[group] + 1
    sizes = np.bincount(group)
    taken = np.bincount(group, weights=labels)
    won = np.bincount(group, weights=rank * labels) - taken * (taken + 1) / 2
    pairs = taken * (sizes - taken)
    exists = pairs > 0
    return won[exists] / pairs[exists], sizes[exists]


@dataclass(frozen=True)
class RankingQuality:
    """How well candidates are ordered.

    Attributes:
        auc, gauc: see above.
        evaluated: lists that have both a taken candidate and another, of `lists` in all.
    """

    auc: float
    gauc: float
    evaluated: int
    lists: int


def evaluate_ranker(scorer: CandidateScorer, lists: CandidateLists) -> RankingQuality:
    """Judge a scorer on lists; two scorers are compared on the same lists.

    Raises:
        ValueError: a score is NaN, or no list has both kinds of candidates.
    """
    shown = lists.items > 0
    scores = scorer.score_lists(lists.histories, lists.items).cpu()[shown].double().numpy()
    labels = lists.labels[shown].numpy()
    users = lists.histories.users.cpu()[:, None].expand_as(lists.items)[shown].numpy()
    taken = lists.labels.sum(1)
    evaluated = (taken > 0) & (taken < shown.sum(1))
    return RankingQuality(
        auc=auc(labels, scores),
        gauc=gauc(labels, scores, users),
        evaluated=int(evaluated.sum()),
        lists=len(lists.items),
    )
