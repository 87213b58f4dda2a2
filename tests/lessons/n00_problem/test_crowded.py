"""Crowded worlds: their items, the count of covered clusters, and the fitted vector."""

import pytest
import torch

from mindlib.lessons.n00_problem.crowded import chance, covered, crowded_worlds, fit_vector


def test_items_have_norm_one_and_are_near_their_center():
    items = crowded_worlds(32, 20)
    assert items.shape == (20, 60, 8, 32)
    assert torch.allclose(items.norm(dim=3), torch.ones(()))
    centers = torch.nn.functional.normalize(items.mean(2, keepdim=True), dim=3)
    assert (items * centers).sum(3).mean() == pytest.approx(0.9, abs=0.03)


def test_worlds_depend_on_the_seed():
    first, again, other = (crowded_worlds(4, 2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_half_of_a_clusters_items_cover_it():
    items = torch.zeros(1, 60, 8, 60)
    items[0, range(60), :, range(60)] = 1.0  # each cluster has a dimension of its own
    vectors = torch.eye(60)[None, [0, 1, 5]]
    items[0, 1, :5] = 0  # three of eight items are left: not half
    assert covered(vectors, items, 3).tolist() == [1]
    items[0, 1, 4] = items[0, 1, 5]
    assert covered(vectors, items, 3).tolist() == [2]


def test_chance_is_that_of_random_vectors_in_many_dimensions():
    items = crowded_worlds(2, 400, scatter=1e3)
    random = torch.randn(400, 1, 2, generator=torch.Generator().manual_seed(0))
    assert covered(random, items, 20).mean() == pytest.approx(chance(20), rel=0.2)


def test_the_fitted_vector_covers_more_than_the_mean_and_finds_a_perfect_one():
    items = crowded_worlds(12, 20)
    mean = items[:, :4].mean((1, 2))[:, None]
    assert covered(fit_vector(items, 4), items, 4).mean() > covered(mean, items, 4).mean() + 0.3
    items = crowded_worlds(96, 5)
    assert covered(fit_vector(items, 4), items, 4).tolist() == [4] * 5
