"""Visits and clicks: a position-based click model on the planted truth.

A click needs two independent events: the user examines the position (which depends on the rank
alone), and the item there attracts them (which depends on the user and the item alone),

    P(click | user, item, rank, day) = rank^-position * min(1, g_u * a * appeal(item)),

    a = focus     if the item belongs to the interest that the user came for today,
        own       if it belongs to another of the user's interests,
        other     if it belongs to none of them,

where appeal(item) is the item's probability within its cluster divided by that of the cluster's
most likely item, and g_u is the user's overall readiness to click.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Int

from mindlib.data.option_types import AT_LEAST_0, FACTOR, SIZE, Options
from mindlib.data.planted import PlantedWorld
from mindlib.online.simulation.assignment import uniform

EXAMINATION, ATTRACTION = 0, 1  # two independent random numbers for each impression


@dataclass(frozen=True)
class ClickConfig(Options):
    """The parameters of visits and clicks; the defaults were fixed before the first run.

    Attributes:
        days: length of the experiment; a week, as in §4.3.
        visit: the shape of Beta(visit, visit), from which each user's daily probability of a visit
            is sampled: one half on average.
        position: the exponent of examination. With 1, a common choice in simulations of learning to
            rank, the tenth position is examined a tenth as often as the first.
        focus, own, other: the attraction, once examined, of the best item of the interest that the
            user came for, of the user's other interests, and of everything else.
        readiness: the shape of the Gamma distribution, with mean 1, of g_u; 4 gives a standard
            deviation of one half.
        drift: the daily probability that one of a user's interests is replaced by another one,
            which no model was trained for; 0.02 is one user in eight a week.
    """

    days: Annotated[int, SIZE] = 7
    visit: Annotated[float, FACTOR] = 2.0
    position: Annotated[float, AT_LEAST_0] = 1.0
    focus: Annotated[float, (0, 1)] = 0.5
    own: Annotated[float, (0, 1)] = 0.2
    other: Annotated[float, (0, 1)] = 0.02
    readiness: Annotated[float, FACTOR] = 4.0
    drift: Annotated[float, (0, 1)] = 0.02


@dataclass(frozen=True)
class Traffic:
    """The visits and interests of a week, independent of what is shown; row 0 is padding.

    Attributes:
        interests: which clusters each user is interested in on each day.
        focus: the interest that the user comes for on a visit.
        visits: whether the user visits.
        readiness: g_u.
        key: seed of the random numbers of all impressions.
    """

    world: PlantedWorld
    config: ClickConfig
    interests: Bool[np.ndarray, "days users clusters"]
    focus: Int[np.ndarray, "days users"]
    visits: Bool[np.ndarray, "days users"]
    readiness: Float[np.ndarray, " users"]
    key: int

    @staticmethod
    def sample(
        world: PlantedWorld, config: ClickConfig | None = None, *, generator: np.random.Generator
    ) -> Traffic:
        """Sample a week of the world's users; the same generator state gives the same week."""
        config = config or ClickConfig()
        users, clusters = world.interests.shape
        key = int(generator.integers(2**63))
        readiness = generator.gamma(config.readiness, 1 / config.readiness, users)
        visit_rate = generator.beta(config.visit, config.visit, users)
        visit_rate[0] = 0
        visits = generator.random((config.days, users)) < visit_rate
        by_day = [world.interests]
        for _ in range(config.days - 1):
            by_day.append(_drift(by_day[-1], config.drift, generator))
        interests = np.stack(by_day)
        focus = (interests * generator.random((config.days, users, clusters))).argmax(2)
        return Traffic(world, config, interests, focus, visits, readiness, key)

    @cached_property
    def appeal(self) -> Float[np.ndarray, " items"]:
        """Appeal of each item within its cluster: 1 for the most likely item, 0 for padding."""
        probabilities = self.world.probabilities
        return (probabilities / probabilities.max(1, keepdims=True).clip(1e-12)).max(0)

    def attraction(
        self, day: int, users: Int[np.ndarray, " requests"], items: Int[np.ndarray, "requests n"]
    ) -> Float[np.ndarray, "requests n"]:
        """Return the probability that each item attracts each user once examined; 0 for padding."""
        clusters, config = self.world.item_clusters[items], self.config
        is_own = self.interests[day, users[:, None], clusters]
        base = np.where(is_own, config.own, config.other)
        base[clusters == self.focus[day, users][:, None]] = config.focus
        return np.minimum(1, self.readiness[users][:, None] * base * self.appeal[items])

    def clicks(
        self, day: int, users: Int[np.ndarray, " requests"], slates: Int[np.ndarray, "requests n"]
    ) -> Bool[np.ndarray, "requests n"]:
        """Return which items of the slates are clicked.

        The random number of examination depends on (day, user, rank) and that of attraction on
        (day, user, item), so two arms that show a user the same slate get the same clicks.

        Args:
            slates: the items shown to each user, best first; 0 after the end.
        """
        rows, ranks = users[:, None], np.arange(1, slates.shape[1] + 1)
        examination = ranks.astype(np.float64) ** -self.config.position
        attraction = self.attraction(day, users, slates)
        examined = uniform(self.key, EXAMINATION, day, rows, ranks) < examination
        attracted = uniform(self.key, ATTRACTION, day, rows, slates) < attraction
        return examined & attracted & (slates > 0)


def _drift(
    interests: Bool[np.ndarray, "users clusters"], drift: float, generator: np.random.Generator
) -> Bool[np.ndarray, "users clusters"]:
    """Return the next day's interests: some users exchange one interest for a new cluster."""
    moves = generator.random(len(interests)) < drift
    random = generator.random(interests.shape)
    old, new = (interests * random).argmax(1), (~interests * random).argmax(1)
    rows = np.flatnonzero(moves & interests.any(1) & ~interests.all(1))
    later = interests.copy()
    later[rows, old[rows]] = False
    later[rows, new[rows]] = True
    return later
