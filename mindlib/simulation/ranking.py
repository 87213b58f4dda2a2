"""The stage behind retrieval: one ranker for all arms, so that only the candidates differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.planted import PlantedWorld
from mindlib.simulation.hashing import uniform


class BatchRanker(Protocol):
    """Scores candidates of many users at once."""

    def score(
        self, histories: Histories, candidates: Int[Tensor, "users n"]
    ) -> Float[Tensor, "users n"]:
        """The higher, the earlier it is shown. What candidate 0 (none) gets does not matter."""
        ...


class Ranker(Protocol):
    """Scores candidates of one user: what serving has."""

    def score(
        self, behavior_items: Int[np.ndarray, " length"], candidates: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """The higher, the earlier it is shown."""
        ...


@dataclass(frozen=True)
class OneByOne:
    """A ranker of one user, asked for each of many."""

    ranker: Ranker

    def score(
        self, histories: Histories, candidates: Int[Tensor, "users n"]
    ) -> Float[Tensor, "users n"]:
        """As `BatchRanker.score`, in a loop."""
        items, rows = histories.items.numpy(), candidates.numpy()
        scores = torch.full(candidates.shape, -torch.inf)
        spans = zip(histories.starts.tolist(), histories.ends.tolist(), strict=True)
        for row, (start, end) in enumerate(spans):
            there = rows[row] > 0
            found = self.ranker.score(items[start:end], rows[row, there])
            scores[row, torch.from_numpy(there)] = torch.from_numpy(found).to(scores.dtype)
        return scores


@dataclass(frozen=True)
class PlantedRanker:
    """A stated ranker for the planted world: it knows what items are, but not who users are.

    The score of an item is the logarithm of its probability as her next event, as far as her
    behaviours tell it,

        log(share of her last behaviours that are of its cluster, smoothed) + log P(item | cluster),

    plus Gaussian noise that belongs to (user, item) and so is the same in every arm. It takes up
    a click as soon as it has happened, and favours no arm's geometry.

    Attributes:
        history_length: the behaviours it looks at, the last ones.
        smoothing: behaviours that every cluster is credited with, all together as many as this.
        noise: the standard deviation of the noise; 1 is a factor of e on the probability.
        seed: of the noise.
    """

    world: PlantedWorld
    history_length: int = 50
    smoothing: float = 1.0
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.history_length < 1:
            raise ValueError(f"history_length={self.history_length}: expected at least 1")
        if not self.smoothing > 0 or not self.noise >= 0:
            raise ValueError(
                f"smoothing={self.smoothing}, noise={self.noise}: expected smoothing above 0 and "
                f"noise at least 0"
            )

    def score(
        self, histories: Histories, candidates: Int[Tensor, "users n"]
    ) -> Float[Tensor, "users n"]:
        """Log-probabilities with noise."""
        world, clusters = self.world, self.world.interests.shape[1]
        history = histories.window(self.history_length)
        of = torch.from_numpy(world.item_clusters)
        counts = torch.zeros((len(histories), clusters), dtype=torch.float64)
        counts.scatter_add_(1, of[history.items].clamp(min=0), history.mask.to(torch.float64))
        share = (counts + self.smoothing / clusters) / (
            counts.sum(1, keepdim=True) + self.smoothing
        )
        within = torch.from_numpy(world.probabilities.max(0)).clamp(min=1e-12)
        likely = share.gather(1, of[candidates].clamp(min=0)) * within[candidates]
        return likely.log() + self.noise * self._luck(histories.users, candidates)

    def _luck(
        self, users: Int[Tensor, " users"], candidates: Int[Tensor, "users n"]
    ) -> Float[Tensor, "users n"]:
        luck = uniform(self.seed, users.numpy()[:, None], candidates.numpy())
        return torch.special.ndtri(torch.from_numpy(luck).clamp(min=2.0**-54))
