"""K vectors a user in an index: the same lists as brute force, for every index that is exact."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import Histories
from mindlib.retrieval import ExactIndex, exact, index, int8, search
from mindlib.retrieval.faiss import FaissIndex
from mindlib.retrieval.index import check_vectors
from tests.retrieval.vectors import Counting, assert_same_lists, brute_force, problem

SEEDS = st.integers(0, 2**31)
# Both find everything: FaissIndex is flat at these sizes.
EXACT = pytest.mark.parametrize("kind", [ExactIndex, FaissIndex])
ids = torch.tensor


@EXACT
@given(seed=SEEDS, n=st.integers(1, 40), ties=st.booleans(), exclude=st.booleans())
def test_search_equals_brute_force(kind, seed, n, ties, exclude):
    p = problem(seed, ties=ties)
    built = kind.build(p.items, p.ids)
    past = p.histories if exclude else None
    found = search(built, p.interests, p.active, n, histories=past)
    assert_same_lists(found, brute_force(p, n, exclude_history=exclude), p)


@given(seed=SEEDS, n=st.integers(1, 30), at_once=st.integers(1, 300))
def test_an_exact_search_takes_blocks_of_users_with_the_same_result(seed, n, at_once):
    p = problem(seed, ties=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "MAX_SCORES", at_once)
        found = search(ExactIndex.build(p.items, p.ids), p.interests, p.active, n)
    assert_same_lists(found, brute_force(p, n, exclude_history=False), p)


def test_exact_search_holds_no_more_scores_than_a_block(monkeypatch):
    widths = []

    def top_n(scores, n):
        widths.append(scores.numel())
        return exact.Recommendations(*reversed(scores.topk(n)))

    monkeypatch.setattr(exact, "MAX_SCORES", 250)
    monkeypatch.setattr(int8, "top_n", top_n)
    built = ExactIndex.build(torch.randn(100, 3), torch.arange(1, 101))
    built.best(torch.randn(5, 2, 3), torch.ones(5, 2).bool(), 4)
    assert widths == [200, 200, 100]


@given(seed=SEEDS, at_once=st.integers(1, 1000))
def test_users_are_searched_for_in_parts_with_the_same_result(seed, at_once):
    p = problem(seed, ties=False)
    counting = Counting(p.items, p.ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "MAX_LIST_ENTRIES", at_once)
        found = search(counting, p.interests, p.active, 9, histories=p.histories)
    assert_same_lists(found, brute_force(p, 9, exclude_history=True), p)
    if at_once < 2 * 4 * 9:  # two users, four interests, nine results: not even these fit
        assert len(counting.calls) == int(p.active.any(1).sum())


@given(seed=SEEDS)
def test_only_active_interests_reach_the_engine_and_in_one_call(seed):
    p = problem(seed, ties=False)
    counting = Counting(p.items, p.ids)
    search(counting, p.interests, p.active, 5, histories=p.histories)
    active = int(p.active.sum())
    assert counting.calls == [active] * bool(active)
    for queries in counting.queries:
        assert torch.equal(queries, p.interests[p.active])


def test_a_user_without_interests_gets_an_empty_list():
    built = ExactIndex.build(torch.ones(3, 2), ids([1, 2, 3]))
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    found = search(built, torch.full((1, 2, 2), torch.nan), nothing, 2)
    assert found.items.tolist() == [[0, 0]]
    assert found.scores.tolist() == [[-torch.inf, -torch.inf]]


def test_no_users_get_no_lists():
    built = ExactIndex.build(torch.ones(3, 2), ids([1, 2, 3]))
    none = Histories.from_lists([])
    found = search(built, torch.zeros(0, 2, 2), torch.zeros(0, 2).bool(), 2, histories=none)
    assert found.items.shape == found.scores.shape == (0, 2)


def test_an_item_of_several_interests_comes_once_with_its_best_score():
    built = ExactIndex.build(torch.tensor([[1.0, 0], [0, 1], [1, 1]]), ids([7, 8, 9]))
    interests = torch.tensor([[[2.0, 0], [0, 3]]])
    found = search(built, interests, torch.ones(1, 2).bool(), 3)
    assert found.items.tolist() in ([[8, 9, 7]], [[9, 8, 7]])
    assert found.scores.tolist() == [[3.0, 3.0, 2.0]]


def test_a_long_past_does_not_shorten_the_list():
    """All of the best are excluded: too few were fetched if the rest of the list is not there."""
    items = torch.arange(1.0, 101)[:, None]
    built = ExactIndex.build(items, torch.arange(1, 101))
    past = Histories.from_lists([[*range(21, 101), *range(21, 101)], []])
    active = torch.ones(2, 1).bool()
    found = search(built, torch.ones(2, 1, 1), active, 5, histories=past)
    assert found.items.tolist() == [[20, 19, 18, 17, 16], [100, 99, 98, 97, 96]]
    past = Histories.from_lists([list(range(3, 101)), [555]])
    found = search(built, torch.ones(2, 1, 1), active, 5, histories=past)
    assert found.items.tolist() == [[2, 1, 0, 0, 0], [100, 99, 98, 97, 96]]
    assert found.scores[0, 2:].tolist() == [-torch.inf] * 3


def test_what_is_built_from_may_be_changed_afterwards():
    items, numbers = torch.eye(2), ids([1, 2])
    built = ExactIndex.build(items, numbers)
    items.zero_()
    numbers.zero_()
    found = search(built, torch.tensor([[[1.0, 0]]]), torch.ones(1, 1).bool(), 1)
    assert found.items.tolist() == [[1]]


# Bad input


def good(kind):
    return kind.build(torch.eye(3), ids([1, 2, 3]))


@EXACT
@pytest.mark.parametrize("n", [0, 4])
def test_n_beyond_the_index_is_refused(kind, n):
    with pytest.raises(ValueError, match=f"n={n}: expected 1 to 3, the number of items"):
        search(good(kind), torch.ones(1, 1, 3), torch.ones(1, 1).bool(), n)


@EXACT
def test_an_empty_index_is_refused(kind):
    with pytest.raises(ValueError, match="no items: an index needs at least one"):
        kind.build(torch.zeros(0, 3), ids([]).long())


@EXACT
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_vectors_that_are_not_finite_are_refused(kind, value):
    items = torch.eye(3)
    items[1, 2] = value
    with pytest.raises(ValueError, match="the vector of item 8 has a NaN or an infinity"):
        kind.build(items, ids([7, 8, 9]))
    active = torch.tensor([[False, True, True]])
    interests = torch.stack([items[1], items[0], items[1]])[None]
    with pytest.raises(ValueError, match="interest 2 of user 0 has a NaN or an infinity"):
        search(good(kind), interests, active, 1)


@EXACT
def test_another_dimension_is_refused(kind):
    with pytest.raises(ValueError, match="interests of dimension 4: the index has dimension 3"):
        search(good(kind), torch.ones(1, 1, 4), torch.ones(1, 1).bool(), 1)


@EXACT
def test_wrong_ids_are_refused(kind):
    with pytest.raises(ValueError, match="item id 5 twice: expected every id once"):
        kind.build(torch.eye(3), ids([5, 4, 5]))
    with pytest.raises(ValueError, match="item id 0: ids start at 1"):
        kind.build(torch.eye(3), ids([0, 4, 5]))


def test_each_vector_needs_an_id():
    with pytest.raises(ValueError, match="3 vectors and 2 ids: expected an id for each vector"):
        check_vectors(torch.eye(3), ids([4, 5]))


def test_pasts_of_other_users_are_refused():
    built, past = good(ExactIndex), Histories.from_lists([[1], [2]])
    with pytest.raises(ValueError, match="2 histories for 1 users: expected one"):
        search(built, torch.ones(1, 1, 3), torch.ones(1, 1).bool(), 1, histories=past)
