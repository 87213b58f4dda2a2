"""The whole experiment, where the truth is known: it finds what is there, and only that."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from mindlib.data import PlantedConfig, PlantedWorld, leave_last_out, planted_interests
from mindlib.data.histories import Histories
from mindlib.evaluation import Estimate, mean_estimate
from mindlib.models import Popularity
from mindlib.online.simulation import (
    DYNAMIC_K,
    ITEM_CF,
    SAMPLE_RATIO_ALPHA,
    YOUTUBE_DNN,
    ArmsConfig,
    Experiment,
    PlantedRanker,
    SlateConfig,
    Traffic,
    Week,
    fixed_k,
    half_scores,
    linearize,
    run_week,
    sample_ratio,
    stopping_bounds,
    train_arms,
)
from mindlib.retrieval import Recommendations
from mindlib.training import TrainingConfig
from tests.oracle import Oracle

pytestmark = pytest.mark.slow

ONE = PlantedConfig(
    num_users=800, num_clusters=20, items_per_cluster=20, max_interests=1, events=(5, 11),
    num_segments=4,
)  # fmt: skip
SEVERAL = replace(ONE, max_interests=4, events=(10, 24))
PAGE = SlateConfig(candidates=20, length=10)
ARMS = ArmsConfig(
    interests=(1, 4),
    dim=16,
    hidden=(16,),
    history_length=12,
    training=TrainingConfig(
        epochs=8, batch_size=128, negatives=100, learning_rate=1e-2, monitor="Recall@10",
        schedule="cosine", patience=8,
    ),
)  # fmt: skip


def everyone(arms: int, world: PlantedWorld) -> np.ndarray:
    return np.ones((arms, world.log.num_users + 1), dtype=bool)


def played(world: PlantedWorld, arms: dict, seed: int) -> Week:
    traffic = Traffic.sample(world, generator=np.random.default_rng(seed))
    members = everyone(len(arms), world)
    return run_week(traffic, arms, PlantedRanker(world), PAGE, members=members)


def rate(week: Week, arm: int) -> np.ndarray:
    return linearize(week.clicks[arm].sum(0)[1:], week.impressions[arm].sum(0)[1:])


def lift(week: Week, arm: int, base: int) -> Estimate:
    return mean_estimate(rate(week, arm) - rate(week, base))


@dataclass(frozen=True)
class KnowsOneInterest:
    """The truth about one interest of each user, the others unknown."""

    world: PlantedWorld

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        first = self.world.interests.argmax(1)
        interests = np.zeros_like(self.world.interests)
        interests[np.arange(len(first)), first] = self.world.interests.any(1)
        knows = Oracle(replace(self.world, interests=interests))
        return knows.recommend(histories, n, exclude_history=exclude_history)


def test_knowing_several_interests_pays_only_where_there_are_several():
    found = {}
    for name, config in (("one", ONE), ("several", SEVERAL)):
        world = planted_interests(config, seed=0)
        week = played(world, {"all": Oracle(world), "one": KnowsOneInterest(world)}, 0)
        found[name] = lift(week, 0, 1)
    assert found["one"].value == 0
    assert found["several"].low > 0.001


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_users_of_one_interest_four_interests_do_not_win(seed):
    world = planted_interests(ONE, seed=seed)
    split = leave_last_out(world.log)
    arms = dict(train_arms(split, ARMS, seed=seed))
    arms["popularity"] = Popularity(split.train_counts)
    week = played(world, arms, seed)
    place = {name: number for number, name in enumerate(week.arms)}
    found = lift(week, place[fixed_k(4)], place[fixed_k(1)])
    assert found.high - found.low < 0.005, "not precise enough to find anything"
    assert found.low <= 0
    assert found.value < 0.001
    for arm in (fixed_k(1), fixed_k(4)):
        assert rate(week, place[arm]).mean() > 2 * rate(week, place["popularity"]).mean()


def test_every_arm_of_the_paper_is_there_and_trained_alike():
    world = planted_interests(replace(SEVERAL, num_users=100), seed=0)
    config = replace(ARMS, training=replace(ARMS.training, epochs=1))
    split = leave_last_out(world.log)
    arms = train_arms(split, config)
    assert list(arms) == [ITEM_CF, YOUTUBE_DNN, fixed_k(1), fixed_k(4), DYNAMIC_K]
    active = {n: arms[n].interests(split.test.histories)[1].sum(1) for n in list(arms)[1:]}  # pyright: ignore[reportAttributeAccessIssue]
    assert (active[fixed_k(4)] == 4).all()
    assert (active[YOUTUBE_DNN] == 1).all()
    lengths = split.test.histories.lengths.clamp(max=config.history_length)
    assert active[DYNAMIC_K].tolist() == lengths.log2().floor().clamp(1, 4).tolist()
    again = train_arms(split, config)
    for name in list(arms)[1:]:
        torch.testing.assert_close(again[name].item_vectors(), arms[name].item_vectors())  # pyright: ignore[reportAttributeAccessIssue]


def test_an_arms_configuration_needs_interests():
    with pytest.raises(ValueError, match=r"interests=\(0,\)"):
        ArmsConfig(interests=(0,))


@cache
def one_arm() -> tuple[PlantedWorld, Week]:
    world = planted_interests(replace(SEVERAL, num_users=3000), seed=1)
    return world, played(world, {"oracle": Oracle(world)}, 1)


def test_a_over_a_of_the_week_is_even_and_divides_fairly():
    world, week = one_arm()
    users = world.log.user_ids
    tests = [Experiment(f"a/a {n}", ("a", "also a")) for n in range(600)]
    halves = np.stack([test.members(users)[0] for test in tests])
    p_values = 2 * stats.norm.sf(np.abs(half_scores(rate(week, 0), halves[:, 1:])))
    assert stats.kstest(p_values, "uniform")[1] > 1e-3
    sizes = halves.sum(1)
    ratios = [sample_ratio(np.array([n, len(users) - 1 - n]), (0.5, 0.5)) for n in sizes]
    assert (np.array(ratios) < SAMPLE_RATIO_ALPHA).mean() < 0.01


def test_peeking_every_day_finds_what_is_not_there_and_bounds_do_not():
    world, week = one_arm()
    generator = np.random.default_rng(0)
    halves = generator.random((4000, world.log.num_users)) < 0.5
    counts = zip(week.clicks[0, :, 1:].cumsum(0), week.impressions[0, :, 1:].cumsum(0), strict=True)
    by_day = [linearize(*until) for until in counts]
    looks = np.stack([half_scores(values, halves) for values in by_day], axis=1)
    # Users come back, so that seven days are not seven times the information of one day.
    fractions = [by_day[-1].var() / values.var() for values in by_day]

    def stopped(bounds: np.ndarray | float) -> float:
        return float((np.abs(looks) > bounds).any(1).mean())

    assert stopped(1.96) > 0.10
    for shape in ("pocock", "obrien-fleming"):
        assert 0.025 < stopped(stopping_bounds(fractions, shape, generator=generator)) < 0.075
