"""Multiply-adds, against counts by hand and against networks that are really there."""

import pytest
import torch

from mindlib.lessons.n00_problem.costs import (
    inner_products,
    inverted_index,
    item_attention,
    layers,
    ranker,
)


def test_layers_count_the_weights_of_a_network():
    network = torch.nn.Sequential(torch.nn.Linear(12, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    weights = sum(p.numel() for p in network.parameters() if p.ndim == 2)
    assert layers(12, 5, 1) == weights == 65


def test_a_ranker_reads_user_item_and_product():
    assert ranker(4, hidden=(10, 3)) == 12 * 10 + 10 * 3 + 3


def test_item_attention_is_linear_in_the_behaviours():
    assert item_attention(4, 1, hidden=(6,)) == 16 * 6 + 6 + 4
    assert item_attention(4, 50, hidden=(6,)) == 50 * item_attention(4, 1, hidden=(6,))


def test_exact_search_visits_every_item_for_every_interest():
    assert inner_products(1000, 8) == 8000
    assert inner_products(1000, 8, interests=3) == 24000


@pytest.mark.parametrize("interests", [1, 5])
def test_an_index_visits_its_centres_and_the_probed_lists(interests):
    assert inverted_index(10_000, 8, interests, probes=4) == interests * 8 * (100 + 4 * 100)


def test_an_index_that_probes_every_list_is_no_cheaper_than_exact_search():
    assert inverted_index(10_000, 8, probes=100) > inner_products(10_000, 8)
    assert inverted_index(10**9, 64) < inner_products(10**9, 64) / 500
