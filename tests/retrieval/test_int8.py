"""Exact search in int8: the same lists as brute force, whatever the rounding does."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.retrieval import ExactIndex, exact, int8, search
from mindlib.retrieval.int8 import Int8Items, has_fast_int8
from tests.retrieval.vectors import (
    assert_same_lists,
    brute_force,
    multiply_slowly,
    problem,
    use_int8,
)

SEEDS = st.integers(0, 2**31)


@pytest.fixture(autouse=True, scope="module")
def small():
    """Small catalogues are searched in int8 too, in blocks of a few items."""
    with pytest.MonkeyPatch.context() as patch:
        use_int8(patch)
        patch.setattr(exact, "MIN_INT8_ITEMS", 1)
        patch.setattr(int8, "BLOCK_SIZE", 1)
        patch.setattr(int8, "BLOCK", 16)
        patch.setattr(int8, "MIN_BLOCK", 16)
        patch.setattr(int8, "MAX_PRODUCTS", 1)
        patch.setattr(int8, "MAX_SHARE", 1)
        yield


def assert_exact(items, queries, n):
    """Each place of the list that is found in int8 has the score of brute force."""
    found = Int8Items(items).top(queries[None], n, torch.zeros(2, 0).long())
    scores = (queries @ items.T).amax(0)
    expected = scores.topk(n).values
    tolerance = 1e-6 * float(queries.norm(dim=1).max() * items.norm(dim=1).max())
    torch.testing.assert_close(found.scores[0], expected, atol=tolerance, rtol=0)
    torch.testing.assert_close(scores[found.items[0]], expected, atol=tolerance, rtol=0)
    assert len(found.items[0].unique()) == n


@given(
    seed=SEEDS,
    num_items=st.integers(2, 67),
    share=st.floats(0, 1),
    at_once=st.integers(1, 300),
    ties=st.booleans(),
    exclude=st.booleans(),
)
def test_search_in_int8_equals_brute_force(seed, num_items, share, at_once, ties, exclude):
    p = problem(seed, ties=ties, num_items=num_items)
    n = 1 + round(share * (num_items - 1))
    built = ExactIndex.build(p.items, p.ids)
    assert built.int8 is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "MAX_SCORES", at_once)
        found = search(built, p.interests, p.active, n, histories=p.histories if exclude else None)
    assert_same_lists(found, brute_force(p, n, exclude_history=exclude), p)


@pytest.mark.parametrize("scale", [1e-18, 1.0, 1e15])
def test_one_item_that_is_a_thousand_times_as_long_hides_no_other(scale):
    """Every other item is rounded to zeros, and only the bound keeps it among the candidates."""
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(500, 5, generator=generator)
    items[7] *= 1000
    assert_exact(scale * items, torch.randn(3, 5, generator=generator), 20)


def test_one_interest_that_is_a_thousand_times_as_long_hides_no_other():
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(500, 5, generator=generator)
    queries = torch.randn(3, 5, generator=generator) * torch.tensor([[1.0], [1e-3], [0.0]])
    assert_exact(items, queries, 20)
    assert_exact(items, queries[2:], 250)


def refusing(*_args, **_options):
    raise RuntimeError("expected self.size(0) > 16")


def overflowing(left, right, out):
    return out.copy_((left.int() @ right.int()).clamp(-(2**15), 2**15))


@pytest.mark.parametrize("product", [None, refusing, overflowing, multiply_slowly])
def test_float32_is_used_where_int8_is_missing_wrong_or_slow(product, monkeypatch):
    seconds = iter([9.0, 1.0] if product is multiply_slowly else [0.0, 1.0])
    monkeypatch.setattr(int8, "_seconds", lambda _: next(seconds))
    monkeypatch.setattr(int8, "multiply", product)
    monkeypatch.setattr(exact, "has_fast_int8", has_fast_int8.__wrapped__)
    p = problem(1, ties=False)
    index = ExactIndex.build(p.items, p.ids)
    assert index.int8 is None
    found = search(index, p.interests, p.active, 9, histories=p.histories)
    assert_same_lists(found, brute_force(p, 9, exclude_history=True), p)
