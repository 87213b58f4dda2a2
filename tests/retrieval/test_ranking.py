"""Ranking by the best interest in int8: the same lists as brute force."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import Histories
from mindlib.retrieval import exact, int8, score_by_best_interest, top_by_best_interest, top_items
from tests.retrieval.vectors import use_int8

SEEDS = st.integers(0, 2**31)


@pytest.fixture(autouse=True, scope="module")
def small():
    """A few users are ranked in int8 too, in chunks of users and blocks of items."""
    with pytest.MonkeyPatch.context() as patch:
        use_int8(patch)
        patch.setattr(exact, "MIN_USERS", 1)
        patch.setattr(exact, "USERS_AT_ONCE", 7)
        patch.setattr(exact, "MAX_SCORES", 600)
        patch.setattr(int8, "MIN_BLOCK", 50)
        patch.setattr(int8, "MAX_PRODUCTS", 1)
        yield


def lists(interests, active, items, histories, n, exclude):
    """The lists of `top_by_best_interest` and of brute force."""

    def vectors(part):
        return interests[part.users - 1], active[part.users - 1]

    found = top_by_best_interest(vectors, items, histories, n, exclude_history=exclude)
    expected = top_items(
        lambda part: score_by_best_interest(*vectors(part), items),
        histories,
        n,
        len(items) - 1,
        exclude_history=exclude,
    )
    return found, expected


def assert_same(found, expected, interests, active, items):
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-4, rtol=1e-5)
    for user, row in enumerate(found.items):
        assert len(row[row > 0].unique()) == (row > 0).sum()
        assert ((row == 0) == (found.scores[user] == -torch.inf)).all()
        scores = (items[row] @ interests[user][active[user]].T).amax(1)
        torch.testing.assert_close(
            scores[row > 0], found.scores[user][row > 0], atol=1e-4, rtol=1e-5
        )


@given(
    seed=SEEDS,
    num_items=st.integers(33, 300),
    users=st.integers(1, 20),
    count=st.integers(1, 4),
    share=st.floats(0, 1),
    candidates=st.sampled_from([0.1, 1.0]),
    ties=st.booleans(),
    exclude=st.booleans(),
)
def test_ranking_equals_brute_force(
    seed, num_items, users, count, share, candidates, ties, exclude
):
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn(num_items + 1, 6, generator=generator)
    interests = torch.randn(users, count, 6, generator=generator)
    if ties:
        items, interests = items.round(), interests.round()
    items[0] = 100  # padding, which nobody may get
    active = torch.rand(users, count, generator=generator) < 0.6
    active[:, 0] = True
    lengths = torch.randint(0, 2 * num_items, (users,), generator=generator).tolist()
    pasts = [torch.randint(1, num_items + 1, (n,), generator=generator).tolist() for n in lengths]
    n = 1 + round(share * ((num_items + 1) // 32 - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "MAX_SHARE", candidates)
        pair = lists(interests, active, items, Histories.from_lists(pasts), n, exclude)
    assert_same(*pair, interests, active, items)


def test_an_unknown_item_of_a_history_is_refused():
    histories = Histories.from_lists([[1], [99, 1, 2]])
    with pytest.raises(ValueError, match="item 99: the model has the items 1 to 64"):
        lists(torch.ones(2, 1, 2), torch.ones(2, 1).bool(), torch.ones(65, 2), histories, 1, True)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e12])
def test_one_item_that_is_a_thousand_times_as_long_hides_no_other(scale, monkeypatch):
    monkeypatch.setattr(int8, "MAX_SHARE", 1.0)
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(801, 5, generator=generator)
    items[7] *= 1000
    interests, active = torch.randn(9, 3, 5, generator=generator), torch.ones(9, 3).bool()
    histories = Histories.from_lists([[7]] * 9)
    found, expected = lists(interests, active, scale * items, histories, 20, True)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-6 * scale, rtol=1e-5)
    assert torch.equal(found.items, expected.items)


def test_few_items_are_scored_in_float32(monkeypatch):
    scored = []
    topk = torch.Tensor.topk
    monkeypatch.setattr(exact, "MAX_SCORES", 1 << 21)
    monkeypatch.setattr(
        torch.Tensor, "topk", lambda x, n, **how: scored.append(x.shape) or topk(x, n, **how)
    )
    generator = torch.Generator().manual_seed(0)
    items, interests = (torch.randn(*s, 16, generator=generator) for s in ((4001,), (9, 3)))
    histories = Histories.from_lists([[1]] * 9)
    active = torch.ones(9, 3).bool()
    found = top_by_best_interest(
        lambda part: (interests[part.users - 1], active[part.users - 1]),
        items, histories, 10, exclude_history=True,
    )  # fmt: skip
    assert found.items.shape == (9, 10)
    assert scored[-1][1] < 400


@pytest.mark.parametrize("n", [0, 101])
def test_n_beyond_the_catalogue_is_refused(n):
    with pytest.raises(ValueError, match=f"n={n}: expected 1 to 100, the number of items"):
        lists(torch.ones(1, 1, 2), torch.ones(1, 1).bool(), torch.ones(101, 2),
              Histories.from_lists([[1]]), n, True)  # fmt: skip
