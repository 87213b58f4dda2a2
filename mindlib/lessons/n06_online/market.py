"""The simulated market of notebook 06: its world, two weeks of visits, the arms and their users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from mindlib.data import PlantedConfig, PlantedWorld, Split, leave_last_out, planted_interests
from mindlib.evaluation import Estimate, Verdict, verdict
from mindlib.online.simulation import (
    DYNAMIC_K,
    ITEM_CF,
    YOUTUBE_DNN,
    ArmsConfig,
    ClickConfig,
    Experiment,
    SlateConfig,
    Traffic,
    difference,
    fixed_k,
    train_arms,
)
from mindlib.retrieval import Recommender
from mindlib.training import TrainingConfig

# A first world had 100 clusters: a list of 1,000 popular items won there, because it covered them
# all. With 800 it has about one item of each.
WORLD = PlantedConfig(num_clusters=800, items_per_cluster=30, max_interests=6, events=(10, 40))
# Two weeks; the tenth place of a list is examined a third as often as the first.
CLICKS = ClickConfig(days=14, position=0.5)
SLATE = SlateConfig(candidates=1000, length=20)
ARMS = ArmsConfig(
    interests=(1, 3, 5, 7),
    dim=8,
    hidden=(16,),
    training=TrainingConfig(
        epochs=2, batch_size=256, pairs_per_user=8, negatives=64, learning_rate=2e-2,
        schedule="cosine", monitor="Recall@500", length_bucket_batches=4,
    ),
)  # fmt: skip
NAMES = (YOUTUBE_DNN, ITEM_CF, *map(fixed_k, ARMS.interests), DYNAMIC_K)
SHARES = tuple((2 if name == YOUTUBE_DNN else 1) / (len(NAMES) + 1) for name in NAMES)
# Two arms are comparable if the interval of their difference lies within this, in CTR.
COMPARABLE = 0.001
VALIDATION = 300  # users that choose an epoch
DAYS = 7
Users = Int[np.ndarray, " users"]


def make_world(visitors: int, seed: int) -> tuple[PlantedWorld, Traffic, Traffic]:
    """Generate users and items, the visits of last week, and those of the experiment's week."""
    world = planted_interests(replace(WORLD, num_users=visitors), seed=seed)
    both = Traffic.sample(world, CLICKS, generator=np.random.default_rng(seed))
    weeks = [
        replace(
            both,
            interests=both.interests[days],
            focus=both.focus[days],
            visits=both.visits[days],
            key=both.key + number,  # other random numbers for the same day and item
        )
        for number, days in enumerate((slice(0, DAYS), slice(DAYS, 2 * DAYS)))
    ]
    return world, weeks[0], weeks[1]


def learners_split(world: PlantedWorld, learners: int) -> Split:
    """Restrict training to the first users; the others are known by their histories only."""
    split = leave_last_out(world.log)
    train_events = split.train_events & (world.log.users <= learners)
    return replace(split, train_events=train_events, validation=split.validation[:VALIDATION])


def train_runs(split: Split, runs: int, seed: int) -> dict[str, Recommender]:
    """Train every arm `runs` times from different seeds; the keys are "ARM / RUN"."""
    by_run = [train_arms(split, ARMS, seed=seed + run) for run in range(runs)]
    return {f"{name} / {run}": by_run[run][name] for name in NAMES for run in range(runs)}


def assign(world: PlantedWorld, runs: int) -> tuple[Users, Users, Bool[np.ndarray, "cells padded"]]:
    """Assign each user to an arm and to one of its training runs, by two hashes of the id.

    Returns:
        arm: of each user, without padding.
        run: of each user, without padding.
        members: a row for each arm and run, in the order of `train_runs`, with padding.
    """
    ids = world.log.user_ids
    arms = Experiment("retrieval", NAMES, SHARES).members(ids)
    by_run = Experiment("retrieval, training run", tuple(map(str, range(runs)))).members(ids)
    members = (arms[:, None] & by_run[None]).reshape(-1, len(ids))
    return arms.argmax(0)[1:], by_run.argmax(0)[1:], members


def over_runs(cells: Float[np.ndarray, "arms runs"], arm: int, base: int) -> Estimate:
    """Estimate the difference of two methods, each trained several times (Student's t).

    Args:
        cells: the mean of each arm and run. Their variance within an arm, pooled over the arms
            that are trained, has both sources of error: the users and the training run.
    """
    trained = np.delete(cells, NAMES.index(ITEM_CF), axis=0)
    degrees = trained.size - len(trained)
    variance = trained.var(1, ddof=1).mean()
    value = float(cells[arm].mean() - cells[base].mean())
    half = float(stats.t.ppf(0.975, degrees) * np.sqrt(2 * variance / cells.shape[1]))
    return Estimate(value, value - half, value + half)


FINDINGS: Sequence[tuple[str, str, str, float | None]] = (
    ("item-based CF is above YouTube DNN", ITEM_CF, YOUTUBE_DNN, None),
    ("MIND, K = 5, is above item-based CF", fixed_k(5), ITEM_CF, None),
    ("MIND, K = 5, is above YouTube DNN", fixed_k(5), YOUTUBE_DNN, None),
    ("K = 5 is above K = 1", fixed_k(5), fixed_k(1), None),
    ("K = 7 and K = 5 are comparable", fixed_k(7), fixed_k(5), COMPARABLE),
    ("dynamic K and K = 7 are comparable", DYNAMIC_K, fixed_k(7), COMPARABLE),
)


def findings(
    values: Float[np.ndarray, " users"],
    arm: Int[np.ndarray, " users"],
    cells: Float[np.ndarray, "arms runs"],
) -> list[tuple[str, Estimate, Estimate, Verdict]]:
    """Compare each finding of §4.3 with the week.

    Returns:
        For each finding its text, the difference of the trained models, that of the methods (see
        `over_runs`), and the `verdict` on the methods.
    """
    rows = []
    for text, a, b, margin in FINDINGS:
        one, other = (values[arm == NAMES.index(name)] for name in (a, b))
        methods = over_runs(cells, NAMES.index(a), NAMES.index(b))
        rows.append((text, difference(one, other), methods, verdict(methods, margin)))
    return rows
