"""The planted world has the properties that its configuration states."""

import numpy as np
import pytest

from mindlib.data import PlantedConfig, planted_interests
from tests.conftest import unchecked

CONFIG = PlantedConfig(num_users=800, num_clusters=12, items_per_cluster=20, noise=0.15)


@pytest.fixture(scope="module")
def world():
    return planted_interests(CONFIG, seed=3)


def test_the_noise_rate_is_as_planted(world):
    """Events outside the user's interests come from noise alone."""
    log = world.log
    inside = world.interests[log.users, world.item_clusters[log.items]]
    # A random item lies in one of the user's clusters now and then; repeats are rarer in noise,
    # so that dropping them raises its share; therefore the test accepts an interval.
    share = world.interests[1:].sum(1).mean() / CONFIG.num_clusters
    assert 0.9 * CONFIG.noise * (1 - share) < (~inside).mean() < 1.8 * CONFIG.noise


def test_without_noise_every_event_lies_in_an_interest():
    world = planted_interests(PlantedConfig(num_users=300, noise=0.0), seed=1)
    assert world.interests[world.log.users, world.item_clusters[world.log.items]].all()


def test_users_have_one_to_max_interests_equally_often(world):
    counts = np.bincount(world.interests[1:].sum(1), minlength=CONFIG.max_interests + 1)
    assert counts[0] == 0
    assert counts[1:].min() > 0.7 * world.log.num_users / CONFIG.max_interests


def test_the_profile_predicts_an_interest(world):
    """Clusters of the user's own segment are interests far more often than others."""
    segments = np.array([int(name.split()[-1]) for name in world.log.profiles.names("segment")[1:]])
    own = np.arange(CONFIG.num_clusters) % CONFIG.num_segments == segments[:, None]
    interests = world.interests[1:]
    assert interests[own].mean() > 2 * interests[~own].mean()


def test_features_do_not_identify_the_cluster(world):
    departments = world.log.item_features.column("department")
    for department in np.unique(departments[1:]):
        inside = world.item_clusters[departments == department]
        assert len(np.unique(inside)) == 4


def test_probabilities_are_those_of_the_events(world):
    """The oracle's probabilities sum to 1 and put most mass where the events are."""
    users = np.arange(1, world.log.num_users + 1)
    probability = world.next_item_probabilities(users)
    assert probability.sum(1) == pytest.approx(np.ones(len(users)))
    assert not probability[:, 0].any()  # padding
    picked = probability[world.log.users - 1, world.log.items]
    assert picked.mean() > 3 / world.log.num_items


def test_the_same_seed_gives_the_same_world():
    first, again = (planted_interests(CONFIG, seed=5).log for _ in range(2))
    assert np.array_equal(first.items, again.items)
    assert not np.array_equal(first.items, planted_interests(CONFIG, seed=6).log.items)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_users": 0}, "num_users=0: expected 1 to 1,000,000"),
        ({"max_interests": 99}, "max_interests=99: expected 1 to num_clusters=24"),
        ({"events": (9, 3)}, r"events=\(9, 3\): expected"),
        ({"noise": 1.5}, "noise=1.5: expected 0 to 1"),
        ({"num_segments": 99}, "num_segments=99: expected 1 to num_clusters=24"),
    ],
)
def test_invalid_configurations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        unchecked(PlantedConfig, **options)
