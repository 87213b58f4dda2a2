"""The measurement of notebook 00, on a world small enough to check user by user."""

import numpy as np
import pytest
import torch

from mindlib.data import PlantedConfig, PlantedWorld, planted_interests
from mindlib.lessons.served import TwoInterests, cold_items, without_items
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
    config = YouTubeDNNConfig(dim=8, hidden=(16,))
    model = YouTubeDNN(world.log, config, generator=generator)
    ways = users.all_ways(model)
    assert len(ways) == 7
    for values in ways.values():
        assert values.shape == (12,)
        assert ((values >= 0) & (values <= 1)).all()
    assert ways["optimised on the answer"].mean() > ways["the mean"].mean()
