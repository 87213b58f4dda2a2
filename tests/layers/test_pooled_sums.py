"""An item as the sum of its id, its features and the words of its title."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import FeatureTable
from mindlib.layers.pooling import ItemEmbedding

FEATURES = FeatureTable(
    ("category", "brand"),
    np.array([[0, 0], [1, 1], [1, 2], [2, 2], [2, 3], [0, 0]]),
    (("unknown", "shoes", "hats"), ("unknown", "alone", "acme", "also alone")),
)
# Word 2 stands on one item alone, and word 4 twice, but on one item.
WORDS = np.array([[0, 0, 0], [1, 3, 5], [5, 0, 0], [1, 2, 0], [3, 5, 1], [4, 4, 0]])


@pytest.fixture
def items(generator):
    return ItemEmbedding(5, 6, FEATURES, words=WORDS, pooling="sum", generator=generator)


def test_an_item_is_the_sum_of_what_is_known_and_shared(items):
    w = items.weight  # rows: padding, 5 ids, 2 categories, 1 brand, 3 words
    assert w.shape == (1 + 5 + 2 + 1 + 3, 6)
    shoes, hats, acme, one, three, five = w[6:]
    vectors = items(torch.tensor([1, 2, 3, 4, 5]))
    torch.testing.assert_close(vectors[0], w[1] + shoes + (one + three + five) / 3**0.5)
    torch.testing.assert_close(vectors[1], w[2] + shoes + acme + five)
    torch.testing.assert_close(vectors[2], w[3] + hats + acme + one)
    torch.testing.assert_close(vectors[3], w[4] + hats + (one + three + five) / 3**0.5)
    torch.testing.assert_close(vectors[4], w[5])


def test_the_gradient_reaches_the_rows_that_an_item_is_made_of(items):
    items(torch.tensor([1, 3])).sum().backward()
    gradient = items.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    dense = gradient.to_dense()
    assert dense.abs().sum(1).nonzero().flatten().tolist() == [1, 3, 6, 7, 8, 9, 10, 11]
    share = 3**-0.5
    for row, expected in ((1, 1), (6, 1), (9, 1 + share), (10, share), (11, share)):
        torch.testing.assert_close(dense[row], torch.full((6,), float(expected)))


def test_padding_is_zero_and_is_never_trained(items):
    assert (items.all()[0] == 0).all()
    assert (items.weight[0] == 0).all()
    items(torch.tensor([0, 1, 0])).sum().backward()
    assert items.weight.grad is not None
    assert (items.weight.grad.to_dense()[0] == 0).all()


@given(
    words=st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=1, max_size=6),
    brands=st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_any_catalogue_equals_plain_python(words, brands):
    number = len(words)
    codes = np.array([[0], *([b] for b in brands[:number])])
    table = FeatureTable(("brand",), codes, (("unknown", "a", "b", "c"),))
    titles = np.array([[0, 0, 0], *words])
    items = ItemEmbedding(
        number, 2, table, words=titles, pooling="sum", generator=torch.Generator()
    )
    kept, rows = {}, number + 1
    for field, column in (("brand", codes), ("words", titles)):
        for value in sorted(set(column.ravel().tolist()) - {0}):
            if sum(value in row for row in column.tolist()) > 1:
                kept[field, value], rows = items.weight[rows], rows + 1
    assert len(items.weight) == rows
    for item in range(1, number + 1):
        expected = items.weight[item].clone()
        for field, column in (("brand", codes), ("words", titles)):
            mine = [kept[field, v] for v in column[item].tolist() if (field, v) in kept]
            expected += sum(mine, torch.zeros(2)) / max(len(mine), 1) ** 0.5
        torch.testing.assert_close(items(torch.tensor([item]))[0], expected)


@pytest.mark.parametrize("id_scale", [1.0, 0.1])
def test_ids_start_as_quiet_as_they_are_told_to(id_scale, generator):
    many = 4000
    codes = np.arange(many + 1)[:, None] // 2
    codes[1] = 0
    table = FeatureTable(("pair",), codes, (tuple(map(str, range(many // 2 + 1))),))
    items = ItemEmbedding(many, 16, table, pooling="sum", id_scale=id_scale, generator=generator)
    ids, features = items.weight[1 : many + 1], items.weight[many + 1 :]
    assert ids.std().item() == pytest.approx(0.25 * id_scale, rel=0.03)
    assert features.std().item() == pytest.approx(0.25, rel=0.03)


def test_without_features_and_words_a_sum_is_the_id(generator):
    none = np.zeros((5, 0), dtype=np.int64)  # a catalogue whose titles share no word
    for words in (None, none):
        items = ItemEmbedding(4, 6, words=words, pooling="sum", generator=generator)
        assert items.weight.shape == (5, 6)
        assert torch.equal(items(torch.tensor([2, 4, 0])), items.weight[[2, 4, 0]])
