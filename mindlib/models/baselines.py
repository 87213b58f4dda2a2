"""What every number stands beside: chance, popularity, and in a planted world the best possible."""

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
    """Items drawn uniformly at random: the floor below every number."""

    num_items: int
    seed: int

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """n random items for each past."""
        generator = torch.Generator().manual_seed(self.seed)

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return torch.rand(len(part), self.num_items + 1, generator=generator)

        return top_items(score, histories, n, self.num_items, exclude_history=exclude_history)


@dataclass(frozen=True)
class Popularity:
    """The most frequent items of the training events, the same for everybody.

    Attributes:
        counts: `Split.train_counts`.
    """

    counts: Int[np.ndarray, " items"]

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """The n most popular items for each past."""
        counts = torch.from_numpy(self.counts).to(torch.float32)

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return counts.expand(len(part), -1).clone()

        return top_items(score, histories, n, len(counts) - 1, exclude_history=exclude_history)


@dataclass(frozen=True)
class Oracle:
    """Recommends by the true probabilities of a planted world: nobody can do better."""

    world: PlantedWorld

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """The n items that are truly the likeliest for each past's user."""

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return torch.from_numpy(self.world.next_item_probabilities(part.users.numpy()))

        num_items = self.world.log.num_items
        return top_items(score, histories, n, num_items, exclude_history=exclude_history)
