"""The instruments of notebook 02 measure what they say: planted users, and what is found."""

import math

import pytest
import torch

from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n02_b2i.routing_trials import (
    best_match,
    kmeans_sorting,
    multiplications,
    perfect_sorting,
    planted_users,
    random_logits,
    recovered_clusters,
    recovery,
    recovery_by_scale,
    route_and_sort,
    routing_with,
    sorting,
)

THREE = RoutingConfig.paper(max_interests=3)


@pytest.fixture
def users(generator):
    return planted_users(40, generator=generator)


def test_planted_users_have_embeddings_of_the_given_length_in_clusters(generator):
    users = planted_users(5, clusters=2, per_cluster=3, scale=2.5, noise=0.0, generator=generator)
    assert users.behaviors.shape == (5, 6, 16)
    assert users.clusters.tolist() == 5 * [[0, 0, 0, 1, 1, 1]]
    torch.testing.assert_close(users.behaviors.norm(dim=2), torch.full((5, 6), 2.5))
    torch.testing.assert_close(users.behaviors[:, 0], users.behaviors[:, 2])
    assert not torch.allclose(users.behaviors[:, 0], users.behaviors[:, 3])
    assert users.items.unique().numel() == 30
    assert users.items.min() == 1
    assert users.mask.all()


def test_shuffling_keeps_each_behaviour_with_its_cluster_and_item(users, generator):
    shuffled = users.shuffled(generator)
    assert not torch.equal(shuffled.clusters[0], shuffled.clusters[1])
    back = shuffled.items.argsort(1)
    again = shuffled.reordered(back)
    for before, after in zip(users, again, strict=True):
        assert torch.equal(before, after)


def test_random_logits_have_the_deviation_sigma(users, generator):
    logits = random_logits(users, 4, 3.0, generator)
    assert logits.shape == (40, 4, 21)
    assert logits.std().item() == pytest.approx(3, rel=0.05)


def test_routing_with_takes_the_map_and_the_changes():
    s = torch.arange(9.0).reshape(3, 3)
    module = routing_with(s, THREE, gradient="all")
    assert torch.equal(module.bilinear_map, s)
    assert module.config == RoutingConfig.paper(max_interests=3, gradient="all")


def test_a_cluster_is_found_by_more_than_half_of_some_interests_weight():
    clusters = torch.tensor([0, 0, 1, 1]).expand(3, -1)
    weights = torch.tensor(
        [
            [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.2, 0.1]],  # both, however little the weight
            [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]],  # none: half is not more than half
            [[0.6, 0.0, 0.3, 0.0], [0.0, 0.0, 0.0, 0.0]],  # the first; an empty interest finds none
        ]
    )
    assert recovered_clusters(weights, clusters).tolist() == [
        [True, True],
        [False, False],
        [True, False],
    ]


def test_identical_interests_find_nothing(users):
    assert recovery(users, THREE, torch.zeros(40, 3, 21)).value == 0


def test_best_match_ignores_order_and_length_and_inactive_interests():
    a = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [7.0, 7.0]]])
    b = torch.tensor([[[0.0, 5.0], [3.0, 0.0], [-1.0, 4.0]]])
    active = torch.tensor([[True, True, False]])
    torch.testing.assert_close(best_match(a, b, active), torch.ones(1))
    with_all = best_match(a, b, torch.ones(1, 3, dtype=torch.bool))
    assert with_all.item() < 1
    opposite = best_match(a[:, :1], -a[:, :1], active[:, :1])
    torch.testing.assert_close(opposite, -torch.ones(1))


def test_best_match_asks_both_sets():
    a = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    b = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    both = torch.ones(1, 2, dtype=torch.bool)
    assert best_match(a, b, both).item() == pytest.approx(0.75)
    assert best_match(b, a, both).item() == pytest.approx(0.75)


def test_recovery_grows_with_the_embeddings_and_from_the_floor():
    grid = recovery_by_scale(
        [0.2, 8.0], {"one": RoutingConfig.paper(max_interests=3, iterations=1), "three": THREE},
        draws=150, seed=0,
    )  # fmt: skip
    assert grid["three"][0].high < 0.1
    assert grid["three"][1].low > 0.5
    assert grid["one"][1].high < 0.1


def test_every_row_of_a_grid_sees_the_same_users_and_the_same_luck():
    grid = recovery_by_scale([4.0], {"a": THREE, "b": THREE}, draws=100, seed=1)
    assert grid["a"] == grid["b"]


def test_a_window_is_some_of_the_behaviours_in_their_order(users):
    part = users.window(2, 5)
    assert torch.equal(part.items, users.items[:, 2:7])
    assert torch.equal(part.behaviors, users.behaviors[:, 2:7])
    assert torch.equal(part.clusters, users.clusters[:, 2:7])


def test_the_perfect_sorting_finds_all_kinds_with_the_entropy_of_seven_of_twenty_one(users):
    result = perfect_sorting(users)
    assert result.found.value == 1
    assert result.entropy.value == pytest.approx(math.log(7) / math.log(21), abs=1e-5)
    assert result.cosine.high < 0.3


def test_even_weights_find_nothing_and_have_the_entropy_one(users):
    even = torch.full((40, 3, 21), 1 / 3)
    result = sorting(users, even, even @ users.behaviors)
    assert result.found.value == 0
    assert result.entropy.value == pytest.approx(1, abs=1e-5)
    assert result.cosine.value == pytest.approx(1, abs=1e-5)


def test_route_and_sort_is_routing_in_numbers(users, generator):
    logits = random_logits(users, 3, 1.0, generator)
    result = route_and_sort(users, THREE, logits)
    assert result.found == recovery(users, THREE, logits)
    assert perfect_sorting(users).entropy.value < result.entropy.value < 1


@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_kmeans_finds_clusters_that_are_far_apart(init, generator):
    users = planted_users(20, clusters=2, noise=0.05, generator=generator)
    result = kmeans_sorting(users, 2, init=init, seed=0)
    assert result.found.value == 1
    assert result.entropy.value == pytest.approx(math.log(7) / math.log(14), abs=1e-5)


def test_the_seeding_of_kmeans_makes_a_difference(generator):
    users = planted_users(150, generator=generator)
    plain, far_apart = (
        kmeans_sorting(users, 3, init=init, seed=0).found for init in ("random", "k-means++")
    )
    assert plain.high < far_apart.low


def test_multiplications_counted_by_hand():
    # One round: the sums, 3 x 21 x 16, and S on each, 3 x 16 x 16.
    one = 3 * 21 * 16 + 3 * 16 * 16
    assert multiplications(RoutingConfig.paper(max_interests=3, iterations=1), 21, 16) == one
    # A round more: S' on each interest, its agreement with each behaviour, and the sums again.
    assert multiplications(RoutingConfig.paper(max_interests=3, iterations=2), 21, 16) == 3 * one
