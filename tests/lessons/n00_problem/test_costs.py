"""Bytes and FLOP against counts by hand and against a network's own weights."""

import pytest
import torch

from mindlib.lessons.n00_problem.costs import attention_network, inverted_file, tree


def test_the_attention_network_has_the_operations_of_its_layers():
    layers = torch.nn.Linear(4 * 8, 6), torch.nn.Linear(6, 1)
    weights = sum(layer.weight.numel() for layer in layers)
    assert attention_network(10, 8, behaviors=3, hidden=6) == (10 * 32, 2 * 10 * 3 * (weights + 8))


@pytest.mark.parametrize("queries", [1, 5])
def test_an_index_reads_its_centers_and_the_probed_lists(queries):
    vectors = queries * (100 + 4 * 100)
    assert inverted_file(10_000, 8, queries, probes=4) == (vectors * 32, 2 * vectors * 8)


def test_a_tree_of_twice_the_items_costs_two_beams_more():
    extra = tree(2000, 8, beam=10)[1] - tree(1000, 8, beam=10)[1]
    assert extra == pytest.approx(attention_network(20, 8)[1])
