"""GAUC against its definition and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mindlib.data import Histories
from mindlib.online.ranking import CandidateLists, auc_by_group, evaluate_ranker

# Few distinct scores, so that ties are common.
IMPRESSIONS = st.lists(
    st.tuples(st.integers(1, 4), st.booleans(), st.integers(-2, 2)), min_size=1, max_size=40
)


def columns(rows):
    groups, labels, scores = zip(*rows, strict=True)
    return np.array(labels), np.array(scores, dtype=np.float64), np.array(groups)


@given(IMPRESSIONS)
def test_auc_by_group_equals_scikit_learns_auc_of_each_group(rows):
    labels, scores, groups = columns(rows)
    expected = []
    for user in np.unique(groups):
        own = groups == user
        if 0 < labels[own].sum() < own.sum():
            expected.append((roc_auc_score(labels[own], scores[own]), own.sum()))
    areas, sizes = auc_by_group(labels, scores, groups)
    np.testing.assert_allclose(areas, [area for area, _ in expected])
    assert sizes.tolist() == [size for _, size in expected]


class Fixed:
    """A scorer with a constant score for each item."""

    def __init__(self, scores):
        self.scores = torch.tensor(scores)

    def score_lists(self, histories, items):
        return self.scores[items]


def lists_of(items, labels) -> CandidateLists:
    histories = Histories.from_lists([[1]] * len(items))
    return CandidateLists(histories, torch.tensor(items), torch.tensor(labels).bool())


def test_gauc_does_not_compare_candidates_of_different_users():
    lists = lists_of([[1, 2], [3, 4]], [[1, 0], [1, 0]])
    quality = evaluate_ranker(Fixed([0.0, 2.0, 1.0, -1.0, -2.0]), lists)
    assert quality.gauc == 1.0


def test_padding_is_ignored_and_users_weigh_by_their_impressions():
    lists = lists_of([[1, 2, 3], [4, 1, 0], [2, 3, 0]], [[0, 1, 0], [1, 1, 0], [1, 0, 0]])
    # Padding (item 0) has the highest score.
    quality = evaluate_ranker(Fixed([9.0, 3.0, 2.0, 1.0, 0.0]), lists)
    assert (quality.areas.tolist(), quality.lists) == ([0.5, 1.0], 3)
    assert quality.gauc == pytest.approx((3 * 0.5 + 2 * 1.0) / 5)


@pytest.mark.parametrize(
    ("score", "labels", "message"),
    [
        (float("nan"), [1, 0], "1 of 2 scores are NaN"),
        (1.0, [1, 1], "2 candidates with 2 targets: no user has both"),
        (1.0, [0, 0], "2 candidates with 0 targets: no user has both"),
    ],
)
def test_lists_without_an_order_are_refused(score, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate_ranker(Fixed([0.0, score, 2.0]), lists_of([[1, 2]], [labels]))
