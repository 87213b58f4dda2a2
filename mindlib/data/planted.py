"""A synthetic log with known (planted) user interests, so that results can be verified.

Items belong to clusters. Every user has a few interests, each a cluster, and most of their events
come from these; the rest is noise. The user's profile (a segment) makes some clusters more likely.
The true distribution is therefore known: `PlantedWorld.next_item_probabilities` gives it, and no
model can do better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from mindlib.data.interactions import Interactions
from mindlib.data.option_types import AT_LEAST_0, ITEMS, SIZE, Options

CLUSTERS_PER_DEPARTMENT = 4
BRANDS = 12
MINUTE = 60


@dataclass(frozen=True)
class PlantedConfig(Options):
    """The size and difficulty of a planted world.

    Attributes:
        num_users, num_clusters, items_per_cluster: sizes.
        max_interests: the number of a user's interests is uniform on 1 to this.
        events: the smallest and largest number of events of a user, before repeats are dropped.
        noise: the probability that an event is a uniformly random item.
        num_segments: the number of values of the profile field; a user's first interest is
            sampled from the clusters of their segment, which makes the profile informative.
        popularity: exponent of the Zipf law within a cluster; 0 makes its items equally popular.
    """

    num_users: Annotated[int, ITEMS] = 3000
    num_clusters: Annotated[int, SIZE] = 24
    items_per_cluster: Annotated[int, SIZE] = 40
    max_interests: int = 4
    events: Annotated[tuple[int, int], SIZE] = (12, 60)
    noise: Annotated[float, (0, 1)] = 0.1
    num_segments: int = 6
    popularity: Annotated[float, AT_LEAST_0] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_interests", "num_segments"):
            if not 1 <= getattr(self, name) <= self.num_clusters:
                raise ValueError(
                    f"{name}={getattr(self, name)}: expected 1 to num_clusters="
                    f"{self.num_clusters}, because each needs a cluster of its own"
                )
        if self.events[0] > self.events[1]:
            raise ValueError(f"events={self.events}: expected (smallest, largest), 1 or more")


@dataclass(frozen=True)
class PlantedWorld:
    """A generated log and the distribution that it was sampled from.

    Attributes:
        log: the first interaction of each user with each item.
        item_clusters: the cluster of each item, -1 for padding.
        interests: True for the clusters that interest each user (row 0 is padding).
        probabilities: for each cluster the popularity of its items (rows sum to 1).
    """

    config: PlantedConfig
    log: Interactions
    item_clusters: Int[np.ndarray, " items"]
    interests: Bool[np.ndarray, "users clusters"]
    probabilities: Float[np.ndarray, "clusters items"]

    def next_item_probabilities(self, users: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n items"]:
        """The true probability of each item to be the next event of some users."""
        interests = self.interests[users]
        share = interests / np.maximum(interests.sum(1, keepdims=True), 1)
        uniform = 1 / (self.probabilities.shape[1] - 1)
        known = (1 - self.config.noise) * (share @ self.probabilities)
        known[:, 1:] += self.config.noise * uniform  # column 0 is padding
        return known


def planted_interests(config: PlantedConfig | None = None, *, seed: int = 0) -> PlantedWorld:
    """Generate a planted world.

    Items have two fields, department (four neighbouring clusters) and brand (random), and users
    have one, segment. None of them identifies a cluster.
    """
    config = config or PlantedConfig()
    rng = np.random.default_rng(seed)
    users, clusters, per_cluster = config.num_users, config.num_clusters, config.items_per_cluster

    within = np.arange(1, per_cluster + 1, dtype=np.float64) ** -config.popularity
    within /= within.sum()
    segments = rng.integers(config.num_segments, size=users)
    # The first interest comes from the segment's own clusters, the others from all clusters.
    taste = rng.random((users, clusters))
    own = np.arange(clusters) % config.num_segments == segments[:, None]
    first = np.where(own, taste, -1).argmax(1)
    taste[np.arange(users), first] = 2
    ranking = np.argsort(-taste, axis=1)[:, : config.max_interests]
    counts = rng.integers(1, config.max_interests + 1, size=users)

    lengths = rng.integers(config.events[0], config.events[1] + 1, size=users)
    user = np.repeat(np.arange(users), lengths)
    chosen = ranking[user, (rng.random(len(user)) * counts[user]).astype(np.int64)]
    item = chosen * per_cluster + rng.choice(per_cluster, size=len(user), p=within)
    noisy = rng.random(len(user)) < config.noise
    item[noisy] = rng.integers(clusters * per_cluster, size=int(noisy.sum()))
    step = np.arange(len(user)) - np.repeat(np.cumsum(lengths) - lengths, lengths)

    every = np.arange(clusters * per_cluster)
    departments = every // per_cluster // CLUSTERS_PER_DEPARTMENT
    log = Interactions.from_frames(
        pl.DataFrame({"user": user, "item": item, "timestamp": step * MINUTE}),
        pl.DataFrame(
            {
                "item": every,
                "department": [f"department {d}" for d in departments],
                "brand": [f"brand {b}" for b in rng.integers(BRANDS, size=len(every))],
                "title": [f"cluster {i // per_cluster}, item {i % per_cluster}" for i in every],
            }
        ),
        pl.DataFrame({"user": np.arange(users), "segment": [f"segment {s}" for s in segments]}),
        item_fields=("department", "brand"),
        profile_fields=("segment",),
        title="title",
        name="planted",
    ).drop_repeats()

    kept_items = log.item_ids[1:].astype(np.int64)
    kept_users = log.user_ids[1:].astype(np.int64)
    item_clusters = np.r_[-1, kept_items // per_cluster]
    probabilities = np.zeros((clusters, log.num_items + 1))
    popularity = within[kept_items % per_cluster]
    probabilities[item_clusters[1:], np.arange(1, log.num_items + 1)] = popularity
    probabilities /= probabilities.sum(1, keepdims=True).clip(1e-12)
    interests = np.zeros((log.num_users + 1, clusters), dtype=bool)
    for rank in range(config.max_interests):
        has = counts[kept_users] > rank
        interests[np.flatnonzero(has) + 1, ranking[kept_users[has], rank]] = True
    return PlantedWorld(config, log, item_clusters, interests, probabilities)
