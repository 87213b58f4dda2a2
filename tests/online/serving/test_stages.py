"""Each stage equals a plain Python implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import Catalogue
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.stages import NO_INTEREST, Candidates, rerank
from mindlib.retrieval import ExactIndex

pytestmark = pytest.mark.slow

ITEMS = 30
EMPTY = np.zeros(0, dtype=np.int64)


def candidates(items: list[int]) -> Candidates:
    numbers = np.array(items, dtype=np.int64)
    return Candidates(numbers, -np.arange(len(items), dtype=np.float32), numbers % 3)


class FixedModel:
    """An interest model with fixed item vectors and interests."""

    def __init__(self, items: torch.Tensor) -> None:
        self.items = items

    def interests(self, histories):
        assert histories.items.tolist() == [4, 7]
        self.profiles = histories.profiles[1:].tolist()
        return torch.arange(6.0).reshape(1, 3, 2), torch.tensor([[True, False, True]])

    def item_vectors(self):
        return self.items

    def recommend(self, histories, n, *, exclude_history=True):
        raise AssertionError


def bundle_of(items: torch.Tensor, counts: np.ndarray | None = None) -> Bundle:
    zeros = np.zeros(len(items), dtype=np.int64)
    return Bundle(
        version="one",
        catalogue=Catalogue(tuple(range(1, len(items)))),
        model=FixedModel(items),
        index=ExactIndex.build(items[1:], torch.arange(1, len(items))),
        counts=zeros if counts is None else counts,
        titles=("",) * len(items),
        categories=zeros,
    )


@given(
    st.permutations(range(1, ITEMS + 1)).map(lambda items: items[:20]),
    st.sets(st.integers(1, ITEMS)),
    st.lists(st.integers(0, 4), min_size=ITEMS + 1, max_size=ITEMS + 1),
    st.integers(1, 25),
    st.sampled_from([0.01, 0.25, 0.3, 0.5, 1.0]),
)
def test_the_rule_equals_plain_python(items, history, kinds, n, share):
    rows = candidates(items)
    shown = rerank(rows, np.array(sorted(history), int), np.array(kinds), n, share=share)
    first, waiting, seen = [], [], {}
    for item in items:
        if item in history:
            continue
        seen[kinds[item]] = seen.get(kinds[item], 0) + 1
        fits = kinds[item] == 0 or seen[kinds[item]] <= math.ceil(share * n)
        (first if fits else waiting).append(item)
    assert shown.items.tolist() == (first + waiting)[:n]
    place = [items.index(item) for item in shown.items]
    assert np.array_equal(shown.scores, rows.scores[place])
    assert np.array_equal(shown.interests, rows.interests[place])


def test_a_user_whose_candidates_are_all_alike_gets_a_full_list():
    rows = candidates(list(range(1, 11)))
    shown = rerank(rows, EMPTY, np.ones(11, dtype=np.int64), 5, share=0.2)
    assert shown.items.tolist() == [1, 2, 3, 4, 5]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sets(st.integers(1, ITEMS), max_size=28))
def test_recall_equals_exhaustive_scoring(seed, interests, history):
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn((ITEMS + 1, 4), generator=generator)
    vectors = torch.randn((interests, 4), generator=generator)
    found = bundle_of(items).recall(vectors, np.array(sorted(history), dtype=np.int64), 12)
    scores, best = (vectors @ items.T).max(0)
    allowed = [i for i in range(1, ITEMS + 1) if i not in history]
    expected = sorted(allowed, key=lambda i: -float(scores[i]))[:12]
    assert found.items.tolist() == expected
    np.testing.assert_allclose(found.scores, scores[expected].numpy(), rtol=1e-5)
    assert found.interests.tolist() == best[expected].tolist()


def test_recall_returns_all_items_of_a_small_catalogue():
    items = torch.eye(4)
    bundle = bundle_of(items)
    assert sorted(bundle.recall(items[2:3], np.array([3]), 1000).items.tolist()) == [1, 2]
    assert len(bundle.recall(items[2:3], np.array([1, 2, 3]), 1000)) == 0


def test_popularity_excludes_the_history():
    bundle = bundle_of(torch.eye(5), np.array([0, 5, 9, 7, 1]))
    found = bundle.recall_popular(np.array([3]), 1000)
    assert found.items.tolist() == [2, 1, 4]
    assert found.scores.tolist() == [9, 5, 1]
    assert found.interests.tolist() == [NO_INTEREST] * 3
    assert bundle.recall_popular(EMPTY, 2).items.tolist() == [2, 3]


@pytest.mark.parametrize("profile", [[], [1, 2]])
def test_the_extractor_returns_active_interests_only(profile):
    bundle = bundle_of(torch.eye(8))
    vectors = bundle.extract(np.array([4, 7]), np.array(profile, dtype=np.int64))
    assert vectors.tolist() == [[0, 1], [4, 5]]
    assert vars(bundle.model)["profiles"] == [profile]
