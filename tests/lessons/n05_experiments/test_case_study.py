"""The rules of the case study, each on users whose answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mindlib.data.histories import Histories, History
from mindlib.lessons.n05_experiments.case_study import (
    aligned,
    choose_users,
    named_interests,
    random_similarity,
    retrieved_by_each,
    same_grouping,
)

# Items 1 to 8 with the categories 1, 1, 2, 2, 3, 3, 4 and none.
CATEGORIES = torch.tensor([0, 1, 1, 2, 2, 3, 3, 4, 0])


def windows(*pasts: list[int]) -> History:
    return Histories.from_lists(pasts).window(4)


def test_the_diverse_user_has_the_largest_and_the_narrow_the_smallest_entropy():
    history = windows([1, 2, 1, 3], [1, 3, 5, 7], [1, 2, 2, 1], [1, 3, 5, 6])
    diverse, narrow = choose_users(history, CATEGORIES, 2)
    assert diverse == (1, 4, pytest.approx(2), 2)
    assert narrow == (2, 1, 0, 2)


def test_of_equals_the_first_is_chosen():
    history = windows([1, 1, 2, 3], [5, 7, 1, 3], [1, 3, 5, 7], [3, 3, 3, 3], [5, 6, 5, 6])
    diverse, narrow = choose_users(history, CATEGORIES, 2)
    assert (diverse.row, narrow.row) == (1, 3)


def test_equal_shares_are_equals_in_whatever_order_they_are_summed():
    counts = list(itertools.permutations([1, 2, 4, 6]))
    pasts = [[1] * a + [3] * b + [5] * c + [7] * d for a, b, c, d in counts]
    for order in (pasts, pasts[::-1]):
        diverse, narrow = choose_users(Histories.from_lists(order).window(13), CATEGORIES, 3)
        assert (diverse.row, narrow.row) == (0, 0)


def test_only_users_with_all_their_interests_and_all_categories_known():
    history = windows([1, 1], [7, 5, 3, 8], [1, 1, 1, 3], [1, 3, 5, 5], [2])
    diverse, narrow = choose_users(history, CATEGORIES, 2)
    assert (diverse.row, narrow.row) == (3, 2)


def test_where_nobody_reaches_k_the_most_interests_there_are_count():
    history = windows([1, 1], [7, 5, 3, 1], [1, 1, 1, 3], [2])
    diverse, narrow = choose_users(history, CATEGORIES, 8)
    assert (diverse.row, diverse.interests, narrow.row) == (1, 2, 2)


def test_a_user_who_may_not_be_chosen_does_not_set_the_number_of_interests():
    diverse, narrow = choose_users(windows([7, 5, 3, 8], [1], [2, 3], [1, 1]), CATEGORIES, 2)
    assert (diverse.interests, diverse.row, narrow.row) == (1, 2, 1)


@pytest.mark.parametrize("pasts", [[[8], [8]], [[1, 2, 3, 4], [1]]])
def test_too_few_users_to_choose_from(pasts: list[list[int]]):
    with pytest.raises(ValueError, match="expected at least two with the same K'_u"):
        choose_users(windows(*pasts), CATEGORIES, 2)


def test_interests_of_other_seeds_come_in_the_order_of_the_first():
    rng = np.random.default_rng(0)
    first = rng.dirichlet(np.full(5, 0.2), 12).T
    orders = [rng.permutation(5) for _ in range(4)]
    for result in aligned([first, *(first[order] for order in orders)]):
        np.testing.assert_array_equal(result, first)


def test_the_same_groups_by_other_names_are_the_same():
    rng = np.random.default_rng(0)
    first = rng.dirichlet(np.full(4, 0.2), 30).T
    assert same_grouping(first, first[[2, 0, 3, 1]]) == 1
    others = [same_grouping(first, rng.dirichlet(np.full(4, 0.2), 30).T) for _ in range(200)]
    assert np.mean(others) == pytest.approx(0, abs=0.02)


@pytest.fixture
def space() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    items = torch.randn(50, 4, generator=draw) * torch.rand(50, 1, generator=draw)
    items[0] = 100
    return torch.randn(3, 4, generator=draw), items


def test_each_interest_retrieves_its_best_scores_and_tells_their_cosines(space):
    interests, items = space
    exclude = torch.tensor([3, 7, 20])
    found = retrieved_by_each(interests, items, 10, exclude=exclude)
    for k in range(3):
        score = {
            i: float(interests[k] @ items[i]) for i in range(1, 50) if i not in exclude.tolist()
        }
        assert found.items[k].tolist() == sorted(score, key=lambda i: -score[i])[:10]
        for item, cosine in zip(found.items[k], found.similarity[k], strict=True):
            expected = torch.nn.functional.cosine_similarity(interests[k], items[item], dim=0)
            assert cosine.item() == pytest.approx(expected.item(), abs=1e-5)


def test_random_items_are_measured_against_their_nearest_interest(space):
    interests, items = space
    exclude = torch.tensor([3, 7, 20])
    draw = torch.Generator().manual_seed(0)
    everything = random_similarity(interests, items, 46, exclude=exclude, generator=draw)
    allowed = [i for i in range(1, 50) if i not in exclude.tolist()]
    cosines = torch.nn.functional.cosine_similarity(
        interests[:, None], items[None, allowed], dim=2
    ).amax(0)
    assert torch.allclose(everything.sort().values, cosines.sort().values, atol=1e-5)
    a, b = (
        random_similarity(
            interests, items, 9, exclude=exclude, generator=torch.Generator().manual_seed(seed)
        )
        for seed in (1, 2)
    )
    assert not torch.equal(a, b)


@pytest.mark.parametrize("n", [0, 47])
def test_more_items_than_there_are(space, n: int):
    interests, items = space
    exclude = torch.tensor([3, 7, 20])
    with pytest.raises(ValueError, match=f"n={n}: expected 1 to 46"):
        retrieved_by_each(interests, items, n, exclude=exclude)
    with pytest.raises(ValueError, match=f"n={n}: expected 1 to 46"):
        random_similarity(interests, items, n, exclude=exclude, generator=torch.Generator())


def test_an_interest_is_named_by_what_most_of_its_items_are():
    items = torch.tensor([[1, 2, 3, 8], [3, 5, 4, 6]])
    names = ["unknown", "nails", "lips", "eyes", "hair"]
    assert named_interests(items, CATEGORIES, names) == [("nails", 0.5), ("lips", 0.5)]
