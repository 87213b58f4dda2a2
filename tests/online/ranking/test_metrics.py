"""AUC and GAUC against plain Python and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mindlib.data import Histories
from mindlib.online.ranking import CandidateLists, auc, evaluate_ranker, gauc
from mindlib.online.ranking.metrics import auc_by_group

# Few distinct scores, so that ties are common.
IMPRESSIONS = st.lists(
    st.tuples(st.integers(1, 4), st.booleans(), st.integers(-2, 2)), min_size=1, max_size=40
)


def columns(rows):
    groups, labels, scores = zip(*rows, strict=True)
    return np.array(labels), np.array(scores, dtype=np.float64), np.array(groups)


def plain_auc(rows) -> float | None:
    """Pair by pair, as it is defined."""
    pairs = [
        1.0 if taken[2] > other[2] else 0.5 if taken[2] == other[2] else 0.0
        for taken in rows
        if taken[1]
        for other in rows
        if not other[1]
    ]
    return sum(pairs) / len(pairs) if pairs else None


@given(IMPRESSIONS)
def test_gauc_is_the_mean_of_the_users_auc_weighted_by_impressions(rows):
    judged = []
    for user in range(1, 5):
        own = [row for row in rows if row[0] == user]
        area = plain_auc(own)
        if area is not None:
            judged.append((area, len(own)))
    areas, sizes = auc_by_group(*columns(rows))
    np.testing.assert_allclose(areas, [area for area, _ in judged])
    assert sizes.tolist() == [size for _, size in judged]
    if judged:
        expected = sum(a * n for a, n in judged) / sum(n for _, n in judged)
        assert gauc(*columns(rows)) == pytest.approx(expected)
    else:
        with pytest.raises(ValueError, match="no user has both kinds"):
            gauc(*columns(rows))


@given(IMPRESSIONS)
def test_auc_is_scikit_learns(rows):
    labels, scores, _ = columns(rows)
    assume(labels.any() and not labels.all())
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert auc(labels, scores) == pytest.approx(plain_auc(rows))


@given(IMPRESSIONS, st.integers(-3, 3))
def test_what_a_user_adds_to_all_her_scores_changes_auc_but_not_gauc(rows, shift):
    labels, scores, groups = columns(rows)
    areas, _ = auc_by_group(labels, scores, groups)
    moved, _ = auc_by_group(labels, scores + 10 * shift * groups, groups)
    np.testing.assert_allclose(moved, areas)


def test_auc_compares_across_users_and_gauc_does_not():
    labels = np.array([True, False, True, False])
    groups = np.array([1, 1, 2, 2])
    scores = np.array([2.0, 1.0, -1.0, -2.0])
    assert gauc(labels, scores, groups) == 1
    assert auc(labels, scores) == 0.75


def test_impressions_weigh_the_users():
    # User 1: two impressions, right. User 2: six, wrong.
    labels = np.array([True, False] + [True] + 5 * [False])
    scores = np.array([1.0, 0.0] + [0.0] + 5 * [1.0])
    groups = np.array(2 * [1] + 6 * [2])
    assert gauc(labels, scores, groups) == pytest.approx(2 / 8)


def test_scores_that_cannot_be_ordered_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        auc(np.array([True, False]), np.array([np.nan, 1.0]))
    with pytest.raises(ValueError, match="0 impressions"):
        auc(np.zeros(0, dtype=bool), np.zeros(0))


class Given:
    """A scorer with a number for each item."""

    def __init__(self, scores):
        self.scores = torch.tensor(scores)

    def score_lists(self, histories, items):
        return self.scores[items]


def test_judge_leaves_out_padding_and_counts_the_lists_that_can_be_judged():
    lists = CandidateLists(
        Histories.from_lists([[1], [1], [1]]),
        torch.tensor([[1, 2, 3], [4, 1, 0], [2, 3, 0]]),
        torch.tensor([[False, True, False], [True, True, False], [True, False, False]]),
    )
    # Padding (0) has a score that would win.
    quality = evaluate_ranker(Given([9.0, 3.0, 2.0, 1.0, 0.0]), lists)
    assert (quality.evaluated, quality.lists) == (2, 3)
    assert quality.gauc == pytest.approx((3 * 0.5 + 2 * 1.0) / 5)
    labels, scores = [0, 1, 0, 1, 1, 1, 0], [3, 2, 1, 0, 3, 2, 1]
    assert quality.auc == pytest.approx(roc_auc_score(labels, scores))
