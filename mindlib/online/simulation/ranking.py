"""A ranker for all arms of a planted world, so that only their candidates differ."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.planted import PlantedWorld
from mindlib.online.simulation.hashing import uniform


@dataclass(frozen=True)
class PlantedRanker:
    """A stated stand-in for DIN: it knows what items are, but not who users are.

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

    def score_lists(
        self, histories: Histories, items: Int[Tensor, "users n"]
    ) -> Float[Tensor, "users n"]:
        """Log-probabilities with noise: a `CandidateScorer`, as DIN is."""
        world, clusters = self.world, self.world.interests.shape[1]
        history = histories.window(self.history_length)
        of = torch.from_numpy(world.item_clusters)
        counts = torch.zeros((len(histories), clusters), dtype=torch.float64)
        counts.scatter_add_(1, of[history.items].clamp(min=0), history.mask.to(torch.float64))
        share = (counts + self.smoothing / clusters) / (
            counts.sum(1, keepdim=True) + self.smoothing
        )
        within = torch.from_numpy(world.probabilities.max(0)).clamp(min=1e-12)
        likely = share.gather(1, of[items].clamp(min=0)) * within[items]
        return likely.log() + self.noise * self._luck(histories.users, items)

    def _luck(
        self, users: Int[Tensor, " users"], items: Int[Tensor, "users n"]
    ) -> Float[Tensor, "users n"]:
        luck = uniform(self.seed, users.numpy()[:, None], items.numpy())
        return torch.special.ndtri(torch.from_numpy(luck).clamp(min=2.0**-54))
