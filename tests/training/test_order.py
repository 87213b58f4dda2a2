from collections import Counter

import numpy as np
import pytest

from mindlib.training.order import RandomOrder, UserSample


@pytest.mark.parametrize("size", [1, 2, 3, 5, 255, 256, 257, 1000, 70_000])
def test_an_order_has_every_element_once_and_parts_agree(size: int):
    order = RandomOrder(size, np.random.default_rng(size))
    whole = order[:]
    np.testing.assert_array_equal(np.sort(whole), np.arange(size))
    np.testing.assert_array_equal(order[size // 3 : size // 2], whole[size // 3 : size // 2])


def test_large_orders_are_computed_in_parts():
    order = RandomOrder(10**10, np.random.default_rng(0))
    part = order[5 * 10**9 : 5 * 10**9 + 1000]
    assert len(set(part.tolist())) == 1000
    assert 0 <= part.min() < 10**9 < 9 * 10**9 < part.max() < 10**10


def test_all_orders_of_three_are_equally_frequent():
    rng = np.random.default_rng(0)
    counts = Counter(tuple(RandomOrder(3, rng)[:].tolist()) for _ in range(600))
    assert len(counts) == 6
    assert sum((n - 100) ** 2 / 100 for n in counts.values()) < 20.5  # chi squared, p = .001


def test_neighbors_in_an_order_are_unrelated():
    order = RandomOrder(10_000, np.random.default_rng(0))[:]
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.04
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.04


def test_a_sample_has_every_case_of_a_user_equally_often():
    rng, counts, limit = np.random.default_rng(0), np.array([0, 1, 3, 4, 7, 0, 20]), 3
    kept, seen, rounds = counts.clip(max=limit), np.zeros(counts.sum()), 2000
    for _ in range(rounds):
        found = UserSample(counts, limit, rng).find(np.arange(kept.sum()))
        assert len(set(found.tolist())) == kept.sum()
        users = np.searchsorted(np.cumsum(counts), found, side="right")
        np.testing.assert_array_equal(np.bincount(users, minlength=len(counts)), kept)
        seen[found] += 1
    expected = np.repeat(rounds * kept / np.maximum(counts, 1), counts)
    assert np.abs(seen - expected).max() < 5 * np.sqrt(rounds / 4)
