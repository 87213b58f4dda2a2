"""The users of the simulated market and the intervals over training runs."""

import numpy as np
import pytest
from scipy import stats

from mindlib.lessons.n06_online import market


@pytest.fixture(scope="module")
def shop():
    return market.make_world(500, seed=0)


def test_the_two_weeks_have_the_same_users_and_other_clicks(shop):
    world, before, during = shop
    assert before.visits.shape == during.visits.shape == (7, world.log.num_users + 1)
    assert (before.readiness == during.readiness).all()
    users, items = np.arange(1, 100), np.ones((99, 5), dtype=np.int64)
    same = [replay.clicks(0, users, items) for replay in (before, during)]
    assert not np.array_equal(*same)


def test_every_user_has_one_arm_and_one_run(shop):
    world, *_ = shop
    arm, run, members = market.assign(world, 3)
    assert members.shape == (3 * len(market.NAMES), world.log.num_users + 1)
    assert (members[:, 1:].sum(0) == 1).all()
    assert not members[:, 0].any()
    assert (members[:, 1:].argmax(0) == 3 * arm + run).all()
    assert sum(market.SHARES) == pytest.approx(1)


def test_training_uses_the_first_users_only(shop):
    world, *_ = shop
    split = market.learners_split(world, 40)
    assert set(world.log.users[split.train_events]) == set(range(1, 41))


def test_the_interval_over_runs_covers_the_difference_of_methods():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        cells = generator.normal(0, 0.001, (len(market.NAMES), 2))
        cells[2] += 0.01
        found = market.over_runs(cells, 2, 0)
        covered += found.low < 0.01 < found.high
    low, high = stats.binom(400, 0.95).interval(0.999)
    assert low <= covered <= high


def test_findings_compare_the_arms_that_they_name():
    generator = np.random.default_rng(0)
    arm = generator.integers(len(market.NAMES), size=7000)
    values = generator.normal(0.05, 0.001, 7000) + 0.01 * (arm == 1)
    means = np.array([values[arm == a].mean() for a in range(len(market.NAMES))])
    cells = means[:, None] + np.array([-1e-5, 1e-5])
    found = {text: verdict for text, *_, verdict in market.findings(values, arm, cells)}
    assert found["item-based CF is above YouTube DNN"] == "holds here"
    assert found["MIND, K = 5, is above item-based CF"] == "reversed here"
    assert found["K = 7 and K = 5 are comparable"] == "holds here"
