"""Diagnostics tell collapsed models from healthy ones."""

import pytest
import torch

from mindlib.evaluation import interest_cosine, routing_entropy


def test_interest_cosine_counts_active_pairs_only():
    vectors = torch.tensor([[[1.0, 0], [0, 2.0], [5.0, 0]], [[1.0, 1], [1, 1], [9, 9]]])
    active = torch.tensor([[True, True, False], [True, True, True]])
    assert interest_cosine(vectors, active).tolist() == pytest.approx([0, 1])
    alone = torch.tensor([[True, False, False]])
    assert interest_cosine(vectors[:1], alone).isnan().all()


def test_routing_entropy_is_one_when_even_and_zero_when_each_interest_copies_one_behavior():
    active = torch.ones(1, 2, dtype=torch.bool)
    even = torch.full((1, 2, 4), 0.5)
    assert routing_entropy(even, active).item() == pytest.approx(1)
    copies = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])
    assert routing_entropy(copies, active).item() == pytest.approx(0)
    assert routing_entropy(torch.ones(1, 2, 1), active).isnan().all()
