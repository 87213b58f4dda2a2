"""GAUC against its definition and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mindlib.data import Histories
from mindlib.online.ranking.lists import CandidateLists, evaluate_ranker


class Fixed:
    """A scorer with a constant score for each item."""

    def __init__(self, scores):
        self.scores = torch.tensor(scores)

    def score_lists(self, histories, items):
        return self.scores[items]


def lists_of(items, labels) -> CandidateLists:
    histories = Histories.from_lists([[1]] * len(items))
    return CandidateLists(histories, torch.tensor(items), torch.tensor(labels).bool())


# Few distinct scores, so that ties are common.
LISTS = st.lists(
    st.lists(st.tuples(st.booleans(), st.integers(-2, 2)), min_size=1, max_size=9),
    min_size=1,
    max_size=5,
)


@given(LISTS)
def test_gauc_is_the_mean_of_scikit_learns_auc_of_each_list(rows):
    width = max(map(len, rows))
    padded = [row + [(False, 0)] * (width - len(row)) for row in rows]
    shown = torch.tensor([[n < len(row) for n in range(width)] for row in rows])
    items = torch.where(shown, torch.arange(shown.numel()).view(shown.shape) + 1, 0)
    labels = [[label for label, _ in row] for row in padded]
    scorer = Fixed([0.0, *(float(score) for row in padded for _, score in row)])
    expected, sizes = [], []
    for row in rows:
        own, scores = zip(*row, strict=True)
        if 0 < sum(own) < len(own):
            expected.append(roc_auc_score(own, scores))
            sizes.append(len(own))
    assume(expected)
    quality = evaluate_ranker(scorer, lists_of(items.tolist(), labels))
    np.testing.assert_allclose(quality.areas, expected)
    assert quality.gauc == pytest.approx(np.average(expected, weights=sizes))


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
