"""Who comes, what she is after, and what she clicks: a position-based model on planted truth.

A click needs two things that know nothing of each other: she looks at the place (examination,
which depends on the rank alone) and what is there attracts her (which depends on her and the
product alone),

    P(click | user, item, rank, day) = rank^-position * min(1, g_u * a * appeal(item)),

    a = focus     if the item is of the interest that she came for today,
        own       if it is of another of her interests,
        other     if it is of none,

with appeal(item) the item's probability within its cluster over that of the cluster's most
likely item (so the order within an interest is the world's), and g_u how readily user u clicks
at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from mindlib.data.planted import PlantedWorld
from mindlib.online.simulation.hashing import uniform

PLACE, PRODUCT = 0, 1  # two independent draws for one impression


@dataclass(frozen=True)
class ClickConfig:
    """The parameters, set by reasoning before the first run and not moved since.

    Attributes:
        days: a week, as in §4.3.
        visit: the shape of Beta(visit, visit), of which each user's probability of coming on a
            day is drawn: half of the days on average, some nearly always, some hardly ever.
        position: the exponent of examination; 1, what simulations of learning to rank commonly
            take, has her look at the tenth place a tenth as often as at the first.
        focus, own, other: the attraction, once looked at, of the best item of the interest that
            she came for, of her other interests, and of everything else. She came for something
            (one look in two), is still herself (one in five), and is curious (one in fifty).
        readiness: the shape of the Gamma law, with mean 1, of g_u; 4 makes its deviation a half.
        drift: the probability that from one day to the next one of her interests has given way
            to another, which no model has been trained for; 0.02 is one user in eight a week.
    """

    days: int = 7
    visit: float = 2.0
    position: float = 1.0
    focus: float = 0.5
    own: float = 0.2
    other: float = 0.02
    readiness: float = 4.0
    drift: float = 0.02

    def __post_init__(self) -> None:
        if self.days < 1:
            raise ValueError(f"days={self.days}: expected at least 1")
        for name in ("visit", "readiness"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: expected a positive number")
        if not 0 <= self.position < math.inf:
            raise ValueError(f"position={self.position}: expected an exponent >= 0 (0: no bias)")
        for name in ("focus", "own", "other", "drift"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected a probability, 0 to 1")

    def examination(self, shown: int) -> Float[np.ndarray, " shown"]:
        """The probability that she looks at each place."""
        return np.arange(1, shown + 1, dtype=np.float64) ** -self.position


@dataclass(frozen=True)
class Traffic:
    """What users bring to the week, whatever anybody shows them; row 0 is padding.

    Attributes:
        interests: which clusters each user is interested in on each day.
        focus: the interest that she comes for, if she comes.
        visits: whether she does.
        readiness: g_u.
        key: where the luck of every impression is looked up.
    """

    world: PlantedWorld
    config: ClickConfig
    interests: Bool[np.ndarray, "days users clusters"]
    focus: Int[np.ndarray, "days users"]
    visits: Bool[np.ndarray, "days users"]
    readiness: Float[np.ndarray, " users"]
    key: int

    @staticmethod
    def draw(
        world: PlantedWorld, config: ClickConfig | None = None, *, generator: np.random.Generator
    ) -> Traffic:
        """A week of the world's users. The same generator's state gives the same week."""
        config = config or ClickConfig()
        users, clusters = world.interests.shape
        key = int(generator.integers(2**63))
        readiness = generator.gamma(config.readiness, 1 / config.readiness, users)
        rate = generator.beta(config.visit, config.visit, users)
        rate[0] = 0
        visits = generator.random((config.days, users)) < rate
        today = world.interests.copy()
        every = []
        for day in range(config.days):
            if day:
                today = _drifted(today, config.drift, generator)
            every.append(today)
        interests = np.stack(every)
        focus = (interests * generator.random((config.days, users, clusters))).argmax(2)
        return Traffic(world, config, interests, focus, visits, readiness, key)

    @cached_property
    def appeal(self) -> Float[np.ndarray, " items"]:
        """Of each item within its cluster: 1 for the likeliest; 0 for padding."""
        probabilities = self.world.probabilities
        return (probabilities / probabilities.max(1, keepdims=True).clip(1e-12)).max(0)

    def attraction(
        self, day: int, users: Int[np.ndarray, " requests"], items: Int[np.ndarray, "requests n"]
    ) -> Float[np.ndarray, "requests n"]:
        """The probability that each item attracts each user, once looked at; 0 for padding."""
        clusters = self.world.item_clusters[items]
        base = np.where(
            clusters == self.focus[day, users][:, None],
            self.config.focus,
            np.where(
                self.interests[day, users[:, None], clusters], self.config.own, self.config.other
            ),
        )
        return np.minimum(1, self.readiness[users][:, None] * base * self.appeal[items])

    def clicks(
        self, day: int, users: Int[np.ndarray, " requests"], lists: Int[np.ndarray, "requests n"]
    ) -> Bool[np.ndarray, "requests n"]:
        """Which of the shown items are clicked.

        The luck of a place depends on (day, user, rank), that of a product on (day, user, item),
        and on nothing else: two arms that show her the same thing get the same answer.

        Args:
            users: contiguous ids.
            lists: what each is shown, best first; 0 where the list has ended.
        """
        rows, ranks = users[:, None], np.arange(1, lists.shape[1] + 1)
        looks = uniform(self.key, PLACE, day, rows, ranks) < self.config.examination(len(ranks))
        attracts = uniform(self.key, PRODUCT, day, rows, lists) < self.attraction(day, users, lists)
        return looks & attracts & (lists > 0)


def _drifted(
    interests: Bool[np.ndarray, "users clusters"], drift: float, generator: np.random.Generator
) -> Bool[np.ndarray, "users clusters"]:
    """A day later: of some users one interest has been replaced by a cluster that was not hers."""
    moves = generator.random(len(interests)) < drift
    luck = generator.random(interests.shape)
    old, new = (interests * luck).argmax(1), (~interests * luck).argmax(1)
    rows = np.flatnonzero(moves & interests.any(1) & ~interests.all(1))
    later = interests.copy()
    later[rows, old[rows]] = False
    later[rows, new[rows]] = True
    return later
