"""How well one vector, or two, serve users of two planted interests: notebook 00's measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions
from mindlib.data.planted import PlantedWorld
from mindlib.data.splits import leave_last_out
from mindlib.evaluation import mean_estimate
from mindlib.lessons.n00_problem.geometry import Interval, climb, recall_of_each, retrieved
from mindlib.models.vector_model import VectorModel
from mindlib.models.youtube_dnn import YouTubeDNN, YouTubeDNNConfig
from mindlib.training import TrainingConfig, fit

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


def train_both(
    log: Interactions, *, dim: int, epochs: int, seed: int
) -> tuple[dict[str, VectorModel], dict[str, list[float]]]:
    """YouTube DNN without and with the features of the items; validation Recall@50 by epoch."""
    config = TrainingConfig.paper(epochs=epochs, negatives=512, learning_rate=1e-2)
    models: dict[str, VectorModel] = {}
    recalls = {}
    for name, seen in {"id only": replace(log, item_features=None), "with features": log}.items():
        shape = YouTubeDNNConfig.paper(dim=dim, hidden=(64,))
        model = YouTubeDNN(seen, shape, generator=torch.Generator().manual_seed(seed))
        result = fit(model, leave_last_out(seen), config, device="cpu", progress=False)
        models[name], recalls[name] = model, [row["Recall@50"] for row in result.log]
    return models, recalls


def interval(values: Float[Tensor, " users"]) -> Interval:
    """The mean over users, and the ends of its 95 % interval."""
    mean = mean_estimate(values)
    return mean.value, mean.low, mean.high


class Rivalry(NamedTuple):
    """Of each user's two interests the strong one, whose own items it scores higher, and the weak.

    Attributes:
        spread: of the lengths of the items, the standard deviation over the mean.
        apart: the longer of a user's two vectors over the shorter one, the median of users.
        strong: the mean score of the strong one's items over that of the weak one's, the median.
        siblings: the same of the items beside the strong one's: those of its group that the user
            does not like.
        found_strong, found_weak: the mean share of each one's items that a list holds.
    """

    spread: float
    apart: float
    strong: float
    siblings: float
    found_strong: float
    found_weak: float


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

    def single_clicks(self, items: Float[Tensor, "all dim"]) -> Float[Tensor, "users length dim"]:
        """Every behaviour as an interest of its own; where there is none, the latest again."""
        vectors = items[self.behaviors]
        latest = vectors[torch.arange(len(vectors)), (self.behaviors > 0).int().sum(1) - 1]
        return torch.where(self.behaviors[:, :, None] > 0, vectors, latest[:, None])

    def rivalry(
        self, items: Float[Tensor, "all dim"], groups: Int[Tensor, " all"], *, cosine: bool = False
    ) -> Rivalry:
        """How high the means of the two interests score, and who gets the places.

        Args:
            groups: of each item of the whole log; each cluster lies in one group.
            cosine: scale items and vectors to length 1.
        """
        items = F.normalize(items, dim=1) if cosine else items
        vectors = self.means(items)[1]
        vectors = F.normalize(vectors, dim=2) if cosine else vectors
        liked, catalogue, group = self.liked, items[self.catalogue], groups[self.catalogue]
        scores = vectors @ catalogue.T
        own = (scores * liked).sum(2) / liked.sum(2)
        row, strong = torch.arange(len(own)), own.argmax(1)
        level = own[row, 1 - strong]
        first = liked[row, strong].int().argmax(1)  # an item of the strong interest
        beside = (group == group[first][:, None]) & ~liked.any(1)
        siblings = (scores[row, strong] * beside).sum(1) / beside.sum(1)
        found = recall_of_each(retrieved(vectors, catalogue, self.places), liked)
        of_items, of_vectors = catalogue.norm(dim=1), vectors.norm(dim=2)
        return Rivalry(
            spread=float(of_items.std() / of_items.mean()),
            apart=float((of_vectors.amax(1) / of_vectors.amin(1)).median()),
            strong=float((own[row, strong] / level).median()),
            siblings=float((siblings / level).median()),
            found_strong=float(found[row, strong].mean()),
            found_weak=float(found[row, 1 - strong].mean()),
        )

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
