"""From vectors to lists: exact, without the history, no item twice."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import Histories
from mindlib.retrieval import merge, score_by_best_interest, scores, top_items, top_n

SEEDS = st.integers(0, 2**31)


@given(seed=SEEDS, width=st.integers(1, 700), n=st.integers(1, 12), ties=st.booleans())
def test_top_n_equals_topk(seed, width, n, ties):
    n = min(n, width)
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(3, width, generator=generator)
    if ties:
        scores = scores.round()
    result, expected = top_n(scores, n), scores.topk(n)
    assert torch.equal(result.scores, expected.values)
    assert torch.equal(scores.gather(1, result.items), expected.values)
    assert all(len(set(row.tolist())) == n for row in result.items)


@given(seed=SEEDS, users=st.integers(1, 6), interests=st.integers(1, 4))
def test_the_score_is_the_best_active_interest(seed, users, interests):
    """Eq. 3, and: an inactive interest must not retrieve anything."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(users, interests, 5, generator=generator)
    items = torch.randn(9, 5, generator=generator)
    count = torch.randint(1, interests + 1, (users,), generator=generator)
    active = torch.arange(interests) < count[:, None]
    scores = score_by_best_interest(vectors, active, items)
    for user in range(users):
        for item in range(len(items)):
            inner = [float(vectors[user, k] @ items[item]) for k in range(int(count[user]))]
            assert scores[user, item].item() == pytest.approx(max(inner), abs=1e-5)


@given(seed=SEEDS, n=st.integers(1, 8), interests=st.integers(1, 4))
def test_merging_the_lists_of_each_interest_equals_brute_force(seed, n, interests):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(4, interests, 5, generator=generator)
    items = torch.randn(30, 5, generator=generator)
    active = torch.arange(interests) < torch.randint(1, interests + 1, (4, 1), generator=generator)
    inner = vectors @ items.T
    inner[:, :, 0] = -torch.inf
    found = inner.topk(n)
    found_scores = found.values.masked_fill(~active[:, :, None], -torch.inf)
    merged = merge(found.indices, found_scores, n)
    whole = score_by_best_interest(vectors, active, items)
    whole[:, 0] = -torch.inf
    torch.testing.assert_close(merged.scores, whole.topk(n).values)
    assert torch.equal(merged.items, whole.topk(n).indices)


def test_merging_never_returns_an_item_twice_and_pads_with_nothing():
    items = torch.tensor([[[3, 1], [3, 2]]])
    scores = torch.tensor([[[9.0, 5.0], [7.0, 6.0]]])
    merged = merge(items, scores, 4)
    assert merged.items.tolist() == [[3, 2, 1, 0]]
    assert merged.scores.tolist() == [[9.0, 6.0, 5.0, float("-inf")]]


@pytest.fixture
def score_by_id():
    """Higher ids score higher, for everybody."""
    return lambda part: torch.arange(11.0).expand(len(part), -1).clone()


def test_history_is_excluded_from_the_list(score_by_id):
    histories = Histories.from_lists([[10, 8], [], [1]])
    lists = top_items(score_by_id, histories, 3, 10, exclude_history=True).items
    assert lists.tolist() == [[9, 7, 6], [10, 9, 8], [10, 9, 8]]
    kept = top_items(score_by_id, histories, 3, 10, exclude_history=False).items
    assert kept.tolist() == [[10, 9, 8]] * 3


def test_all_of_a_long_history_is_excluded_and_not_only_a_window(score_by_id):
    histories = Histories.from_lists([[10, *[1] * 500]])
    assert 10 not in top_items(score_by_id, histories, 5, 10, exclude_history=True).items


def test_a_history_that_leaves_too_few_items_gives_zeros_at_the_end(score_by_id):
    histories = Histories.from_lists([[1, 2, 3, 4, 5, 6, 7, 8]])
    result = top_items(score_by_id, histories, 4, 10, exclude_history=True)
    assert result.items.tolist() == [[10, 9, 0, 0]]


def test_padding_is_never_recommended():
    def score(part):
        scores = torch.zeros(len(part), 11)
        scores[:, 0] = 1e9
        return scores

    lists = top_items(score, Histories.from_lists([[1]]), 9, 10, exclude_history=True).items
    assert (lists > 0).all()


def test_users_are_scored_in_chunks(monkeypatch, score_by_id):
    monkeypatch.setattr(scores, "MAX_SCORES", 25)  # two users of eleven scores
    sizes = []

    def score(part):
        sizes.append(len(part))
        return score_by_id(part)

    histories = Histories.from_lists([[n] for n in range(1, 6)])
    lists = top_items(score, histories, 2, 10, exclude_history=True).items
    assert sizes == [2, 2, 1]
    assert lists.tolist() == [[10, 9]] * 5


@pytest.mark.parametrize("n", [0, 11])
def test_n_beyond_the_catalogue_is_refused(n, score_by_id):
    with pytest.raises(ValueError, match=f"n={n}: expected 1 to 10, the number of items"):
        top_items(score_by_id, Histories.from_lists([[1]]), n, 10, exclude_history=True)
