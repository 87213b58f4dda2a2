"""Planted users and the measures of collapse."""

import math

import pytest
import torch

from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n02_b2i.planted import diagnose, planted_users, recovered_clusters

THREE = RoutingConfig.paper(max_interests=3)


def test_planted_behaviors_have_the_given_norm_and_lie_in_clusters(generator):
    behaviors, clusters = planted_users(50, norm=2.5, generator=generator)
    assert behaviors.shape == (50, 21, 16)
    assert clusters.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    torch.testing.assert_close(behaviors.norm(dim=2), torch.full((50, 21), 2.5))
    cosines = (behaviors @ behaviors.mT).mean(0) / 2.5**2
    together = clusters == clusters[:, None]
    assert cosines[together].min() > 0.7
    assert cosines[~together].abs().max() < 0.2


def test_a_cluster_is_recovered_by_more_than_half_of_an_interests_weight():
    weights = torch.tensor(
        [
            [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.2, 0.1]],  # both, whatever the total weight
            [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]],  # none: half is not more than half
            [[0.6, 0.0, 0.3, 0.0], [0.0, 0.0, 0.0, 0.0]],  # the first only
        ]
    )
    expected = [[True, True], [False, False], [True, False]]
    assert recovered_clusters(weights, torch.tensor([0, 0, 1, 1])).tolist() == expected


def test_without_noise_all_interests_are_equal():
    result = diagnose(RoutingConfig.paper(max_interests=3, sigma=0.0), norm=4.0, users=20)
    assert result.recovered.value == 0
    assert result.cosine.value == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(result.coupling, torch.full((20, 3, 21), 1 / 3))


def test_the_two_kinds_of_collapse_and_their_absence():
    short = diagnose(THREE, norm=0.01, users=50)
    assert min(short.cosine.value, short.entropy.value) > 0.9
    over_behaviors = RoutingConfig.paper(max_interests=3, softmax_over="behaviors")
    assert diagnose(over_behaviors, norm=40.0, users=50).entropy.value < 0.3
    healthy = diagnose(RoutingConfig.paper(max_interests=3, iterations=10), norm=16.0, users=50)
    assert healthy.recovered.value > 0.7
    assert healthy.cosine.value < 0.3
    assert healthy.entropy.value == pytest.approx(math.log(7) / math.log(21), abs=0.1)
