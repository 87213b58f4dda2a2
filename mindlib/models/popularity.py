"""Reference models: random lists and popular items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.retrieval import Recommendations, top_items


@dataclass(frozen=True)
class Random:
    """Recommend a uniform random sample of the items, as a lower bound for other models."""

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
        counts: the number of training events of each item, as in `Split.train_counts`.
    """

    counts: Int[np.ndarray, " items"]

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Recommend the n items with the most training events."""
        counts = torch.from_numpy(self.counts).to(torch.float32)

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return counts.expand(len(part), -1).clone()

        return top_items(score, histories, n, len(counts) - 1, exclude_history=exclude_history)
