"""Embedding and pooling (§3.2)."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import FeatureTable
from mindlib.layers.pooling import ItemEmbedding, ProfileEmbedding

FEATURES = FeatureTable(
    ("category", "brand"),
    np.array([[0, 0], [1, 1], [1, 2], [2, 0], [0, 0]]),
    (("unknown", "shoes", "hats"), ("unknown", "acme", "bolt")),
)


@pytest.fixture
def items(generator):
    return ItemEmbedding(4, 6, FEATURES, generator=generator)


def test_an_item_is_the_mean_of_its_id_and_its_known_features(items):
    w = items.weight  # rows: padding, 4 ids, 2 categories, 2 brands
    assert w.shape == (1 + 4 + 2 + 2, 6)
    vectors = items(torch.tensor([1, 2, 3, 4]))
    shoes, hats, acme, bolt = w[5], w[6], w[7], w[8]
    torch.testing.assert_close(vectors[0], (w[1] + shoes + acme) / 3)
    torch.testing.assert_close(vectors[1], (w[2] + shoes + bolt) / 3)
    torch.testing.assert_close(vectors[2], (w[3] + hats) / 2)
    torch.testing.assert_close(vectors[3], w[4])


def test_padding_embeds_to_zeros_and_is_never_trained(items):
    assert (items(torch.tensor([0])) == 0).all()
    items(torch.tensor([0, 1, 0])).sum().backward()
    assert items.weight.grad is not None
    assert (items.weight.grad.to_dense()[0] == 0).all()


def test_behaviors_targets_and_negatives_share_the_feature_table(items):
    """The gradient of an item reaches the category that another item has, too."""
    items(torch.tensor([1])).sum().backward()
    assert items.weight.grad is not None
    touched = items.weight.grad.to_dense().abs().sum(1).nonzero().flatten().tolist()
    assert touched == [1, 5, 7]


def test_without_features_an_item_is_its_id(generator):
    items = ItemEmbedding(4, 6, generator=generator)
    assert torch.equal(items(torch.tensor([2, 4])), items.weight[[2, 4]])


@pytest.mark.parametrize("features", [None, FEATURES])
def test_initial_item_vectors_have_the_stated_scale(features, generator):
    many = 4000
    if features is not None:
        rng = np.random.default_rng(0)
        codes = np.r_[[[0, 0]], rng.integers(1, 2001, (many, 2))]
        names = ("unknown", *map(str, range(2000)))
        features = FeatureTable(("a", "b"), codes, (names, names))
    items = ItemEmbedding(many, 16, features, generator=generator)
    assert items.all()[1:].std().item() == pytest.approx(0.25, rel=0.03)


def test_the_catalogue_is_row_by_row_what_forward_gives(items):
    assert torch.equal(items.all(), items(torch.arange(5)))


def test_a_profile_is_the_concatenation_of_its_fields(generator):
    profile = ProfileEmbedding((3, 4), 5, generator=generator)
    assert profile.width == 10
    out = profile(torch.tensor([[2, 0], [0, 3]]))
    torch.testing.assert_close(out[0], torch.cat([profile.weight[2], profile.weight[3]]))
    torch.testing.assert_close(out[1], torch.cat([profile.weight[0], profile.weight[6]]))


def test_no_profile_fields_give_an_empty_profile(generator):
    profile = ProfileEmbedding((), 5, generator=generator)
    assert profile(torch.zeros(3, 0, dtype=torch.int64)).shape == (3, 0)


def test_padding_without_features_is_zero_and_is_never_trained(generator):
    items = ItemEmbedding(4, 6, generator=generator)
    assert (items(torch.tensor([0])) == 0).all()
    assert (items.all()[0] == 0).all()
    items(torch.tensor([0, 1, 0])).sum().backward()
    assert items.weight.grad is not None
    gradient = items.weight.grad.to_dense()
    assert (gradient[0] == 0).all()
    assert (gradient[1] == 1).all()


SEVERAL = FeatureTable(
    ("genre", "genre", "year"),
    np.array([[0, 0, 0], [1, 2, 1], [2, 0, 1], [2, 1, 0], [0, 0, 2], [0, 0, 2]]),
    (*(("unknown", "drama", "war"),) * 2, ("unknown", "1990", "2000")),
)


def test_a_field_with_several_values_counts_once(generator):
    """The columns of a field share their rows, and its weight depends on the pooling only."""
    items = ItemEmbedding(5, 6, SEVERAL, generator=generator)
    w = items.weight  # rows: padding, 5 ids, 2 genres, 2 years
    assert w.shape == (1 + 5 + 2 + 2, 6)
    drama, war, first, _ = w[6:]
    vectors = items(torch.tensor([1, 2, 3]))
    torch.testing.assert_close(vectors[0], (w[1] + (drama + war) / 2 + first) / 3)
    torch.testing.assert_close(vectors[1], (w[2] + war + first) / 3)
    torch.testing.assert_close(vectors[2], (w[3] + (drama + war) / 2) / 2)
    items = ItemEmbedding(5, 6, SEVERAL, pooling="sum", generator=generator)
    w = items.weight
    drama, war, first, _ = w[6:]
    vectors = items(torch.tensor([1, 2]))
    torch.testing.assert_close(vectors[0], w[1] + (drama + war) / 2**0.5 + first)
    torch.testing.assert_close(vectors[1], w[2] + war + first)


GENRES = st.lists(st.integers(1, 4), max_size=3, unique=True)


@given(
    rows=st.lists(st.tuples(GENRES, st.integers(0, 3)), min_size=1, max_size=6),
    pooling=st.sampled_from(["mean", "sum"]),
)
def test_any_fields_equal_plain_python(rows, pooling):
    genres, years = ["unknown", *"abcd"], ("unknown", *"xyz")
    codes = [[*codes, *[0] * (3 - len(codes)), year] for codes, year in [([], 0), *rows]]
    table = FeatureTable(
        ("genre",) * 3 + ("year",), np.array(codes), (*(tuple(genres),) * 3, years)
    )
    generator = torch.Generator().manual_seed(0)
    items = ItemEmbedding(len(rows), 2, table, pooling=pooling, generator=generator)
    fields = [[codes for codes, _ in rows], [[year] * (year > 0) for _, year in rows]]
    vectors, next_row = items.weight[1 : len(rows) + 1].clone(), len(rows) + 1
    known = torch.ones(len(rows), 1)
    for field in fields:
        counts = Counter(code for codes in field for code in codes)
        kept = sorted(code for code, count in counts.items() if pooling == "mean" or count > 1)
        row_of = {code: next_row + i for i, code in enumerate(kept)}
        if pooling == "mean":  # a row for each code up to the largest
            row_of = {code: next_row + code - 1 for code in kept}
        for item, codes in enumerate(field):
            mine = [items.weight[row_of[code]] for code in codes if code in row_of]
            if mine:
                vectors[item] += sum(mine) / len(mine) ** (1 if pooling == "mean" else 0.5)
                known[item] += 1
        next_row = max([next_row, *(row + 1 for row in row_of.values())])
    assert len(items.weight) == next_row
    expected = vectors / known if pooling == "mean" else vectors
    torch.testing.assert_close(items.all()[1:], expected)
