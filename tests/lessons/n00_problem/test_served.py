"""The measurement of notebook 00, on a world small enough to check user by user."""

import numpy as np
import pytest
import torch

from mindlib.data import PlantedConfig, PlantedWorld, planted_interests
from mindlib.lessons.n00_problem.served import (
    TwoInterests,
    cold_items,
    interval,
    train_both,
    without_items,
)
from mindlib.models import YouTubeDNN, YouTubeDNNConfig

CONFIG = PlantedConfig(num_users=80, num_clusters=8, items_per_cluster=10, num_segments=4)


@pytest.fixture(scope="module")
def world() -> PlantedWorld:
    return planted_interests(CONFIG)


@pytest.fixture(scope="module")
def users(world) -> TwoInterests:
    cold = cold_items(world, 2, seed=0)
    return TwoInterests.of(world, without_items(world.log, cold), cold, 12)


def test_every_cluster_gives_as_many_cold_items(world):
    cold = cold_items(world, 3, seed=1)
    assert np.bincount(world.item_clusters[cold]).tolist() == [3] * 8
    assert (np.diff(cold) > 0).all()
    assert (cold == cold_items(world, 3, seed=1)).all()


def test_cold_items_have_no_event_and_stay_in_the_catalogue(world):
    cold = cold_items(world, 2, seed=0)
    log = without_items(world.log, cold)
    assert not np.isin(log.items, cold).any()
    assert len(log) == (~np.isin(world.log.items, cold)).sum()
    assert log.num_items == world.log.num_items
    assert log.offsets[-1] == len(log)


def test_the_users_have_two_interests_and_lists_of_their_size(world, users):
    assert len(users.pasts) == 12
    for user, pair in zip(users.pasts.users.tolist(), users.pairs.tolist(), strict=True):
        assert np.flatnonzero(world.interests[user]).tolist() == pair
    assert users.places == 2 * (10 - 2)
    assert (users.liked.sum(2) == 8).all()
    assert not np.isin(users.catalogue.numpy(), cold_items(world, 2, seed=0)).any()


def test_the_means_are_those_of_a_loop(world, users, generator):
    items = torch.randn(world.log.num_items + 1, 4, generator=generator)
    whole, parts = users.means(items)
    for row, past in enumerate(users.behaviors):
        seen = [int(item) for item in past if item > 0]
        torch.testing.assert_close(whole[row, 0], items[seen].mean(0))
        for k, cluster in enumerate(users.pairs[row].tolist()):
            own = [item for item in seen if world.item_clusters[item] == cluster]
            if own:
                torch.testing.assert_close(parts[row, k], items[own].mean(0))


def test_clean_clusters_are_served_by_two_vectors_and_one_interest_alone_is_not(world, users):
    clusters = torch.from_numpy(world.item_clusters)
    items = torch.nn.functional.one_hot(clusters.clamp(min=0), 8).float()
    items[0] = 0
    assert (users.worse_served(users.means(items)[1], items) == 1).all()
    assert (users.worse_served(users.means(items)[1][:, :1], items) < 1).all()


def test_the_best_of_more_random_vectors_is_no_worse(world, users, generator):
    items = torch.randn(world.log.num_items + 1, 6, generator=generator)
    few, many = (users.best_of_random(items, n, seed=0) for n in (1, 400))
    assert (many >= few).all()
    assert many.mean() > few.mean()


def test_every_way_gives_each_user_a_share(world, users, generator):
    config = YouTubeDNNConfig.paper(dim=8, hidden=(16,))
    model = YouTubeDNN(world.log, config, generator=generator)
    ways = users.all_ways(model)
    assert len(ways) == 7
    for values in ways.values():
        assert values.shape == (12,)
        assert ((values >= 0) & (values <= 1)).all()
    assert ways["optimised on the answer"].mean() > ways["the mean"].mean()


def cluster_vectors(world: PlantedWorld) -> torch.Tensor:
    """Each cluster on an axis of its own."""
    clusters = torch.from_numpy(world.item_clusters)
    items = torch.nn.functional.one_hot(clusters.clamp(min=0), 8).float()
    items[0] = 0
    return items


def test_every_behaviour_searches_and_padding_repeats_the_latest(users, generator, world):
    items = torch.randn(world.log.num_items + 1, 4, generator=generator)
    clicks = users.single_clicks(items)
    for row, past in enumerate(users.behaviors.tolist()):
        seen = [item for item in past if item > 0]
        assert torch.equal(clicks[row, : len(seen)], items[seen])
        assert (clicks[row, len(seen) :] == items[seen[-1]]).all()


def test_without_neighbours_lengths_do_no_harm_and_with_them_the_weak_interest_loses(world, users):
    groups = torch.from_numpy(world.item_clusters).clamp(min=0) // 4
    apart = cluster_vectors(world) * torch.tensor([1.0, 1, 2, 1, 1.5, 1, 2, 1])
    assert users.rivalry(apart, groups).found_weak == 1
    # Clusters of a group share an axis: their members score nearly as high as one another.
    near = torch.cat([apart, 1.5 * apart.norm(dim=1, keepdim=True) * group_vectors(groups)], dim=1)
    rival, level = users.rivalry(near, groups), users.rivalry(near, groups, cosine=True)
    assert rival.siblings > 0.6
    assert rival.found_weak < 0.9 < level.found_weak
    assert rival.found_strong > rival.found_weak
    assert (level.spread, level.apart) == pytest.approx((0, 1), abs=1e-5)
    assert rival.strong > 1.2


def group_vectors(groups: torch.Tensor) -> torch.Tensor:
    vectors = torch.nn.functional.one_hot(groups, 2).float()
    vectors[0] = 0
    return vectors


def test_the_levels_of_rivals_are_those_of_a_loop(world, users, generator):
    items = torch.randn(world.log.num_items + 1, 4, generator=generator) / 4
    items[1:] += torch.randn(8, 4, generator=generator).abs()[world.item_clusters[1:]]
    groups = torch.from_numpy(world.item_clusters).clamp(min=0) // 4
    strong, siblings = [], []
    for pair, vectors in zip(users.pairs.tolist(), users.means(items)[1], strict=True):
        own = [
            float((items[users.catalogue[users.clusters == c]] @ v).mean())
            for c, v in zip(pair, vectors, strict=True)
        ]
        top = int(own[1] > own[0])
        beside = [
            float(items[i] @ vectors[top])
            for i, c in zip(users.catalogue.tolist(), users.clusters.tolist(), strict=True)
            if c // 4 == pair[top] // 4 and c not in pair
        ]
        strong.append(own[top] / own[1 - top])
        siblings.append(np.mean(beside) / own[1 - top])
    rival = users.rivalry(items, groups)
    assert rival.strong == pytest.approx(float(torch.tensor(strong).median()), rel=1e-4)
    assert rival.siblings == pytest.approx(float(torch.tensor(siblings).median()), rel=1e-4)
    lengths = items[users.catalogue].norm(dim=1)
    assert rival.spread == pytest.approx(float(lengths.std() / lengths.mean()))
    assert rival.apart > 1.01
    assert users.rivalry(items, groups, cosine=True).apart == pytest.approx(1, abs=1e-5)


def test_both_models_are_trained_and_only_one_has_features(world):
    log = without_items(world.log, cold_items(world, 2, seed=0))
    models, recalls = train_both(log, dim=4, epochs=2, seed=0)
    assert [len(recalls[name]) for name in ("id only", "with features")] == [2, 2]
    fields = [models[name].items.codes.shape[1] for name in ("id only", "with features")]
    assert fields == [1, 3]
    again, _ = train_both(log, dim=4, epochs=2, seed=0)
    torch.testing.assert_close(again["id only"].items.weight, models["id only"].items.weight)


def test_the_interval_is_students():
    mean, low, high = interval(torch.tensor([0.0, 1.0] * 50))
    assert mean == 0.5
    assert (mean - low, high - mean) == pytest.approx((0.0997, 0.0997), abs=1e-3)
