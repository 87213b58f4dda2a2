"""The online week of notebook 06: a small world, its arms, and what its counts say, by rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from mindlib.data.planted import PlantedConfig, PlantedWorld, planted_interests
from mindlib.data.splits import leave_last_out
from mindlib.evaluation import Estimate, Verdict, verdict
from mindlib.models.popularity import Popularity
from mindlib.online.simulation import (
    DYNAMIC_K,
    ITEM_CF,
    ONE_INTEREST,
    SEVERAL_INTERESTS,
    YOUTUBE_DNN,
    ArmsConfig,
    Behaviors,
    PlantedRanker,
    SlateConfig,
    Traffic,
    Week,
    build_pipeline,
    fixed_k,
    information_fractions,
    lift,
    restrict_training,
    run_week,
    searches_per_request,
    train_arms,
)
from mindlib.retrieval import Recommender
from mindlib.training import TrainingConfig, fit

# The worlds of `mindlib.online.simulation.worlds`, smaller; more clusters than candidates.
SEVERAL = replace(SEVERAL_INTERESTS, num_clusters=50, items_per_cluster=20)
ONE = replace(ONE_INTEREST, num_clusters=50, items_per_cluster=20)
PAGE = SlateConfig(max_share=0.04, length=10)
# Four epochs are what two minutes allow. Of batches of 128 at 1e-2 and of 256 at 2e-2 the second
# had the better validation recall (YouTube DNN and MIND with K = 4 together, another seed's world).
ARMS = ArmsConfig(
    dim=16,
    hidden=(32,),
    history_length=20,
    training=TrainingConfig.paper(
        epochs=4, batch_size=256, negatives=128, learning_rate=2e-2, schedule="cosine",
        monitor="Recall@50",
    ),
)  # fmt: skip
# Two arms are comparable if the interval of their difference lies within this, in CTR.
COMPARABLE = 0.002
POPULARITY = "popularity"
AGAIN = "YouTube DNN, trained again"


@dataclass(frozen=True)
class Played:
    """A week that every user has lived through once with each arm.

    Attributes:
        arms: what was compared, trained.
        week: what was counted.
    """

    world: PlantedWorld
    traffic: Traffic
    arms: Mapping[str, Recommender]
    week: Week

    def row(self, name: str) -> int:
        """The number of an arm."""
        return self.week.arms.index(name)


def play(world: PlantedConfig, arms: ArmsConfig, *, users: int, learners: int, seed: int) -> Played:
    """Train the arms, and play the week with each for everybody.

    Besides the arms of the paper there are popularity, the floor, and YouTube DNN a second time
    from another seed: what the two differ by is what training again is worth.

    Args:
        users: who come in the week.
        learners: of them, those whose pasts the models are trained on.
        seed: of the world, the training and the week.
    """
    made = planted_interests(replace(world, num_users=users), seed=seed)
    split = restrict_training(leave_last_out(made.log), min(learners, made.log.num_users))
    trained = dict(train_arms(split, arms, seed=seed, progress=False))
    again = arms.builders()[YOUTUBE_DNN](split.log, torch.Generator().manual_seed(seed + 1))
    fit(again, split, replace(arms.training, seed=seed + 1), device="cpu", progress=False)
    trained |= {AGAIN: again, POPULARITY: Popularity(split.train_counts)}
    traffic = Traffic.sample(made, generator=np.random.default_rng(seed))
    everybody = np.ones((len(trained), made.log.num_users + 1), dtype=bool)
    week = run_week(traffic, trained, PlantedRanker(made), PAGE, members=everybody)
    return Played(made, traffic, trained, week)


def divided(week: Week, members: Bool[np.ndarray, "arms users"]) -> Week:
    """The A/B test out of a week that was played for everybody: each user's own arm alone.

    It is what `run_week` counts with these members: no arm changes what another's users see.

    Args:
        members: a row for each arm of the week; a user is in one at most.
    """
    own = members[:, None]
    return Week(week.arms, members, week.impressions * own, week.clicks * own, week.searches * own)


def fractions(week: Week, arm: int) -> list[float]:
    """How much of the week's information there is each evening.

    Not days / 7: most of the first days' users come back on later ones.
    """
    seen = week.impressions[arm].cumsum(0)
    clicked = week.clicks[arm].cumsum(0)
    residuals = clicked - clicked[-1].sum() / seen[-1].sum() * seen
    return information_fractions((np.square(residuals).sum(1) / seen.sum(1) ** 2).tolist())


class Places(NamedTuple):
    """By place of the page.

    Attributes:
        ctr: clicks over impressions.
        corrected: clicks over expected looks.
        error: the standard error of `corrected` around the truth.
        truth: how much what stood there attracts those who look, on average.
    """

    ctr: Float[np.ndarray, " places"]
    corrected: Float[np.ndarray, " places"]
    error: Float[np.ndarray, " places"]
    truth: Float[np.ndarray, " places"]


def by_place(played: Played, name: str) -> Places:
    """The first day of an arm, place by place."""
    traffic, log = played.traffic, played.world.log
    users = np.flatnonzero(traffic.visits[0])
    everybody = np.ones(log.num_users + 1, dtype=bool)
    whole = build_pipeline(played.arms[name], PlantedRanker(played.world), PAGE, log.num_items)
    asked = Behaviors.of(log, everybody).histories(users)
    lists = whole.recommend(asked, PAGE.length).items.numpy()
    clicks = traffic.clicks(0, users, lists)
    looks = traffic.config.examination(PAGE.length)
    rate, truth = clicks.mean(0), traffic.attraction(0, users, lists).mean(0)
    expected = truth * looks
    error = np.sqrt(expected * (1 - expected) / len(users)) / looks
    return Places(rate, rate / looks, error, truth)


class Finding(NamedTuple):
    """A finding that the paper reports, and what it came to here.

    Attributes:
        text: in words.
        difference: of CTR, the first arm's minus the second's.
        found: the verdict over the interval of the difference.
    """

    text: str
    difference: Estimate
    found: Verdict


def findings(week: Week) -> list[Finding]:
    """§4.3's findings about CTR, each compared with the week."""
    stated = [
        ("item-based CF is above YouTube DNN", ITEM_CF, YOUTUBE_DNN),
        ("MIND with 5 interests is above item-based CF", fixed_k(5), ITEM_CF),
        ("MIND with 5 interests is above YouTube DNN", fixed_k(5), YOUTUBE_DNN),
        ("5 interests are above 1", fixed_k(5), fixed_k(1)),
    ]
    alike = [
        ("7 interests and 5 are comparable", fixed_k(7), fixed_k(5)),
        ("dynamic K and 7 interests are comparable", DYNAMIC_K, fixed_k(7)),
    ]
    rows = [(*row, None) for row in stated] + [(*row, COMPARABLE) for row in alike]
    return [
        Finding(text, change, verdict(change, margin))
        for text, a, b, margin in rows
        if a in week.arms and b in week.arms
        for change in [lift(week, week.arms.index(a), week.arms.index(b))]
    ]


def stops_paying(week: Week, interests: tuple[int, ...]) -> int:
    """The smallest K above which no larger K has more CTR, by the interval of the difference."""
    for k in sorted(interests):
        larger = [other for other in interests if other > k]
        row = week.arms.index(fixed_k(k))
        if not any(lift(week, week.arms.index(fixed_k(o)), row).low > 0 for o in larger):
            return k
    raise ValueError("interests=(): expected at least one K")


def saved(week: Week, interests: int) -> float:
    """The share of the searches of a fixed K that dynamic K does without."""
    dynamic, full = (
        searches_per_request(week, week.arms.index(name))
        for name in (DYNAMIC_K, fixed_k(interests))
    )
    return 1 - dynamic / full


def lost(counts: Int[np.ndarray, " arms"], arm: int, share: float) -> Int[np.ndarray, " arms"]:
    """The arms' sizes if one of them lost a share of its users on the way (a crash, a filter)."""
    found = counts.copy()
    found[arm] = round((1 - share) * counts[arm])
    return found
