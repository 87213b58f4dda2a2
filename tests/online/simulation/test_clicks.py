"""The click model does what its formula says, and its luck belongs to the user, not to the arm."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mindlib.data import PlantedConfig, planted_interests
from mindlib.online.simulation import ClickConfig, Traffic
from tests.conftest import unchecked

WORLD = PlantedConfig(
    num_users=4000, num_clusters=6, items_per_cluster=10, max_interests=3, events=(4, 8),
    num_segments=3,
)  # fmt: skip


@cache
def world():
    return planted_interests(WORLD, seed=0)


def traffic(seed: int = 0, **options) -> Traffic:
    config = ClickConfig(**options)
    return Traffic.sample(world(), config, generator=np.random.default_rng(seed))


def every_user() -> np.ndarray:
    return np.arange(1, world().log.num_users + 1)


def random_lists(n: int = 8) -> np.ndarray:
    order = np.random.default_rng(1).random((len(every_user()), world().log.num_items))
    return order.argsort(1)[:, :n] + 1


@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
def test_clicks_come_as_often_as_the_formula_says_at_each_rank(position):
    week = traffic(position=position)
    lists = random_lists()
    expected = np.arange(1, 9) ** -position * week.attraction(2, every_user(), lists)
    clicked = week.clicks(2, every_user(), lists)
    error = np.sqrt((expected * (1 - expected)).sum(0))
    assert (np.abs(clicked.sum(0) - expected.sum(0)) < 4 * error).all()
    assert (clicked.sum(0) > 10 * error / 3).all(), "too few clicks to say anything"


def test_attraction_is_by_interest_appeal_and_readiness():
    week = traffic(focus=0.4, own=0.1, other=0.01, drift=0.0)
    user = int(np.flatnonzero(world().interests.sum(1) > 1)[0])
    week = replace(week, readiness=np.full_like(week.readiness, 2.0))
    clusters = world().item_clusters
    for item in range(1, world().log.num_items + 1):
        within = world().probabilities[clusters[item]]
        base = 0.01
        if world().interests[user, clusters[item]]:
            base = 0.4 if clusters[item] == week.focus[0, user] else 0.1
        found = week.attraction(0, np.array([user]), np.array([[item]]))[0, 0]
        np.testing.assert_allclose(found, 2.0 * base * within[item] / within.max())


def test_padding_is_never_clicked():
    week = traffic(focus=1.0, own=1.0, other=1.0, position=0.0)
    assert not week.clicks(0, every_user(), np.zeros((len(every_user()), 3), np.int64)).any()


def test_luck_is_the_same_whoever_shows_it():
    week = traffic(position=0.0)
    lists = random_lists()
    once = week.clicks(3, every_user(), lists)
    assert 0.02 < once.mean() < 0.5
    order = np.random.default_rng(2).permutation(lists.shape[1])
    np.testing.assert_array_equal(week.clicks(3, every_user(), lists[:, order]), once[:, order])
    some = every_user()[5:50]
    np.testing.assert_array_equal(week.clicks(3, some, lists[5:50]), once[5:50])
    assert (week.clicks(4, every_user(), lists) != once).any(), "another day, another luck"


def test_looking_belongs_to_the_place_and_liking_to_the_product():
    """Correlated, they would make clicks likelier or rarer than the product of both."""
    week = traffic(position=1.0, focus=0.5, own=0.5, other=0.5)
    lists = random_lists()
    looks = traffic(position=1.0, focus=1.0, own=1.0, other=1.0)
    looks = replace(looks, readiness=np.full_like(looks.readiness, 1e9))  # everything attracts
    looked = looks.clicks(1, every_user(), lists)
    np.testing.assert_allclose(looked.mean(0), 1 / np.arange(1, 9), atol=0.03)
    clicked = week.clicks(1, every_user(), lists)
    assert not (clicked & ~looked).any()


def test_she_comes_for_one_of_her_interests():
    week = traffic(drift=0.5)
    day, user = np.indices(week.focus[:, 1:].shape)
    assert week.interests[day, user + 1, week.focus[:, 1:]].all()
    several = world().interests.sum(1) > 1
    assert (week.focus[1:, several] != week.focus[:-1, several]).any()


def test_some_come_often_and_some_hardly_ever():
    days = traffic(days=60).visits[:, 1:].mean(0)
    assert abs(days.mean() - 0.5) < 0.02
    assert days.std() > 0.15
    assert not traffic().visits[:, 0].any(), "padding does not come"


def test_without_drift_interests_stay():
    week = traffic(drift=0.0)
    assert (week.interests == world().interests).all()


@pytest.mark.parametrize("drift", [0.1, 1.0])
def test_drift_replaces_one_interest(drift):
    week = traffic(drift=drift)
    assert (week.interests[0] == world().interests).all(), "the week begins as the log ended"
    changed = (week.interests[1:] != week.interests[:-1]).sum(2)[:, 1:]
    assert set(np.unique(changed)) <= {0, 2}
    assert abs((changed == 2).mean() - drift) < 0.01
    assert (week.interests.sum(2) == world().interests.sum(1)).all()


def test_a_week_is_drawn_by_its_generator():
    one, again, other = traffic(0), traffic(0), traffic(1)
    assert one.key == again.key != other.key
    for name in ("visits", "focus", "readiness", "interests"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert (one.visits != other.visits).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"days": 0}, "days=0"),
        ({"visit": 0.0}, "visit=0.0: expected 1e-06 to 1,000,000"),
        ({"readiness": -1.0}, "readiness=-1.0: expected 1e-06 to 1,000,000"),
        ({"position": -1.0}, "position=-1.0"),
        ({"focus": 1.5}, "focus=1.5: expected 0 to 1"),
        ({"drift": float("nan")}, "drift=nan: expected a number"),
    ],
)
def test_impossible_click_models_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        unchecked(ClickConfig, **options)
