"""How well one vector, or two, serve users of two planted interests: notebook 00's measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions
from mindlib.data.planted import PlantedWorld
from mindlib.lessons.geometry import climb, recall_of_each, retrieved
from mindlib.models.vector import VectorModel

WINDOW = 60


def cold_items(world: PlantedWorld, of_each: int, *, seed: int) -> Int[np.ndarray, " cold"]:
    """Some items of every cluster, drawn at random, in ascending order."""
    rng = np.random.default_rng(seed)
    clusters = (
        np.flatnonzero(world.item_clusters == cluster)
        for cluster in range(world.config.num_clusters)
    )
    return np.sort(np.concatenate([rng.choice(c, of_each, replace=False) for c in clusters]))


def without_items(log: Interactions, items: Int[np.ndarray, " n"]) -> Interactions:
    """The log without the events of these items. The catalogue keeps them."""
    keep = ~np.isin(log.items, items)
    return replace(
        log, users=log.users[keep], items=log.items[keep], timestamps=log.timestamps[keep]
    )


@dataclass(frozen=True)
class TwoInterests:
    """Users with exactly two planted interests, and what each of them should be shown.

    Attributes:
        pasts: their behaviours.
        catalogue: the items that may be retrieved.
        clusters: the cluster of each of these.
        pairs: the two clusters that each user likes.
        behaviors: the last behaviours of each user, 0 where there is none.
        of_interest: 1 where a behaviour is of an interest.
    """

    pasts: Histories
    catalogue: Int[Tensor, " items"]
    clusters: Int[Tensor, " items"]
    pairs: Int[Tensor, "users 2"]
    behaviors: Int[Tensor, "users length"]
    of_interest: Float[Tensor, "users 2 length"]

    @property
    def liked(self) -> Bool[Tensor, "users 2 items"]:
        """For each user and interest, the items of the catalogue that belong to it."""
        return self.clusters == self.pairs[:, :, None]

    @property
    def places(self) -> int:
        """The length of a list: as many items as the two interests have."""
        return int(self.liked[0].sum())

    @staticmethod
    def of(
        world: PlantedWorld, log: Interactions, cold: Int[np.ndarray, " cold"], limit: int
    ) -> TwoInterests:
        """The first `limit` such users of a world.

        Args:
            log: the world's log, perhaps without some events.
            cold: items that are not to be retrieved, as many of each cluster.
        """
        users = np.flatnonzero(world.interests.sum(1) == 2)[:limit]
        pairs = torch.from_numpy(np.stack([np.flatnonzero(world.interests[u]) for u in users]))
        assert log.profiles is not None
        pasts = Histories(
            items=torch.from_numpy(log.items),
            starts=torch.from_numpy(log.offsets[users]),
            ends=torch.from_numpy(log.offsets[users + 1]),
            users=torch.from_numpy(users),
            profiles=torch.from_numpy(log.profiles.codes),
        )
        clusters = torch.from_numpy(world.item_clusters)
        catalogue = torch.from_numpy(np.setdiff1d(np.arange(1, log.num_items + 1), cold))
        behaviors = pasts.window(WINDOW).items
        of_interest = (clusters[behaviors][:, None] == pairs[:, :, None]).to(torch.float32)
        return TwoInterests(pasts, catalogue, clusters[catalogue], pairs, behaviors, of_interest)

    def means(
        self, items: Float[Tensor, "all dim"]
    ) -> tuple[Float[Tensor, "users 1 dim"], Float[Tensor, "users 2 dim"]]:
        """The mean of each user's behaviours, and that of each of her two interests."""
        present = (self.behaviors > 0).to(items.dtype)[:, None]
        vectors = items[self.behaviors]
        whole = present @ vectors / present.sum(2, keepdim=True)
        parts = self.of_interest @ vectors / self.of_interest.sum(2, keepdim=True).clamp(min=1)
        return whole, parts

    def worse_served(
        self, vectors: Float[Tensor, "users interests dim"], items: Float[Tensor, "all dim"]
    ) -> Float[Tensor, " users"]:
        """What each user's list has of the interest of which it has less."""
        found = retrieved(vectors, items[self.catalogue], self.places)
        return recall_of_each(found, self.liked).amin(1)

    def best_of_random(
        self, items: Float[Tensor, "all dim"], n: int, *, seed: int
    ) -> Float[Tensor, " users"]:
        """The same for the best of n random vectors, the best one chosen for each user."""
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(n, 1, items.shape[1], generator=generator)
        found = retrieved(drawn, items[self.catalogue], self.places)
        members = F.one_hot(self.clusters).T.to(torch.bool)[None]
        return recall_of_each(found, members)[:, self.pairs].amin(2).amax(0)

    def all_ways(self, model: VectorModel) -> dict[str, Float[Tensor, " users"]]:
        """`worse_served` for several vectors of a user, by name."""
        items = model.item_vectors()
        unit = F.normalize(items, dim=1)
        mean, two = self.means(items)
        mean_of_unit, two_of_unit = (F.normalize(v, dim=2) for v in self.means(unit))
        optimised = climb(mean[:, 0], items[self.catalogue], self.liked)[:, None]
        return {
            "the mean": self.worse_served(mean, items),
            "YouTube DNN's own": self.worse_served(model.interests(self.pasts)[0], items),
            "best of 2,000 random": self.best_of_random(items, 2000, seed=1),
            "optimised on the answer": self.worse_served(optimised, items),
            "two vectors (Eq. 3)": self.worse_served(two, items),
            "the mean, by cosine": self.worse_served(mean_of_unit, unit),
            "two vectors, by cosine": self.worse_served(two_of_unit, unit),
        }
