"""ComiRec's controllable aggregation against plain Python, and its two ends."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.retrieval import Recommendations, diversify

CATEGORIES = torch.tensor([0, 1, 1, 1, 2, 2, 3, 1, 2, 3, 3])


def listed(seed, users=3, width=8):
    generator = torch.Generator().manual_seed(seed)
    items = torch.stack([torch.randperm(10, generator=generator)[:width] + 1 for _ in range(users)])
    scores = torch.rand(users, width, generator=generator).sort(1, descending=True).values
    return Recommendations(items, scores)


def greedy(items, scores, n, weight):
    kinds = CATEGORIES.tolist()
    left, chosen = list(zip(items, scores, strict=True)), []
    for _ in range(n):
        best = max(
            left,
            key=lambda pair: (
                pair[1] + weight * sum(kinds[pair[0]] != kinds[item] for item, _ in chosen)
            ),
        )
        chosen.append(best)
        left.remove(best)
    return chosen


@given(st.integers(0, 1000), st.integers(1, 8), st.sampled_from([0.0, 0.07, 0.25, 3.0]))
def test_items_are_chosen_greedily(seed, n, weight):
    found = listed(seed)
    lists, scores = diversify(found, CATEGORIES, n, weight=weight)
    for row in range(len(lists)):
        expected = greedy(found.items[row].tolist(), found.scores[row].tolist(), n, weight)
        assert lists[row].tolist() == [item for item, _ in expected]
        assert scores[row].tolist() == pytest.approx([score for _, score in expected])


def test_without_weight_the_best_stay():
    found = listed(0)
    kept = diversify(found, CATEGORIES, 5, weight=0.0)
    assert torch.equal(kept.items, found.items[:, :5])
    assert torch.equal(kept.scores, found.scores[:, :5])


def test_with_a_large_weight_every_category_comes_first():
    for row in diversify(listed(1), CATEGORIES, 3, weight=100.0).items:
        assert len(CATEGORIES[row].unique()) == 3


def test_places_where_nothing_was_found_come_last():
    found = Recommendations(
        torch.tensor([[3, 1, 0, 0]]), torch.tensor([[2.0, 1.0, -math.inf, -math.inf]])
    )
    assert diversify(found, CATEGORIES, 4, weight=5.0).items.tolist() == [[3, 1, 0, 0]]


def test_what_cannot_be_is_refused():
    for n in (0, 9):
        with pytest.raises(ValueError, match=f"n={n}: expected 1 to 8"):
            diversify(listed(0), CATEGORIES, n, weight=0.1)
    for weight in (-0.5, math.nan):
        with pytest.raises(ValueError, match=f"weight={weight}: expected 0"):
            diversify(listed(0), CATEGORIES, 3, weight=weight)
