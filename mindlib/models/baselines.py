"""Baselines: random lists, popular items, and the best possible model of a planted world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.planted import PlantedWorld
from mindlib.retrieval import Recommendations, top_items


@dataclass(frozen=True)
class Random:
    """Recommend a uniform random sample of the items, the lower bound for every model."""

    num_items: int
    seed: int

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Sample n items for each history."""
        generator = torch.Generator().manual_seed(self.seed)

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return torch.rand(len(part), self.num_items + 1, generator=generator)

        return top_items(score, histories, n, self.num_items, exclude_history=exclude_history)


@dataclass(frozen=True)
class Popularity:
    """Recommend the most frequent items of the training events to every user.

    Attributes:
        counts: events of each item, `Split.train_counts`.
    """

    counts: Int[np.ndarray, " items"]

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Rank the items by their number of training events."""
        counts = torch.from_numpy(self.counts).to(torch.float32)

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return counts.expand(len(part), -1).clone()

        return top_items(score, histories, n, len(counts) - 1, exclude_history=exclude_history)


@dataclass(frozen=True)
class Oracle:
    """Recommend by the true probabilities of a planted world, the upper bound for every model."""

    world: PlantedWorld

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Rank the items by their probability for the user of each history."""

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return torch.from_numpy(self.world.next_item_probabilities(part.users.numpy()))

        num_items = self.world.log.num_items
        return top_items(score, histories, n, num_items, exclude_history=exclude_history)
