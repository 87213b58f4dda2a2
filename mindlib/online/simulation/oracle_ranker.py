"""A ranker for all arms of a planted world, so that arms differ in their candidates alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.option_types import AT_LEAST_0, SEED, SIZE, check_options
from mindlib.data.planted import PlantedWorld
from mindlib.online.simulation.hashing import uniform


@dataclass(frozen=True)
class PlantedRanker:
    """A stand-in for DIN that has the true item distribution but must infer the user's interests.

    The score of an item is the logarithm of its probability as the next event, given the history,

        log(smoothed share of recent behaviours in its cluster) + log P(item | cluster),

    plus Gaussian noise that is a function of (user, item) and therefore the same in every arm. A
    click counts from the next request on, and no arm's geometry is favoured.

    Attributes:
        history_length: number of most recent behaviours that count.
        smoothing: pseudo-count, distributed over all clusters.
        noise: standard deviation of the noise; 1 is a factor of e on the probability.
        seed: of the noise.
    """

    world: PlantedWorld
    history_length: int = 50
    smoothing: float = 1.0
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self, history_length=SIZE, smoothing=AT_LEAST_0, noise=AT_LEAST_0, seed=SEED)
        if self.smoothing == 0:
            raise ValueError("smoothing=0: expected a pseudo-count above 0")

    def score_lists(
        self, histories: Histories, items: Int[Tensor, "users n"]
    ) -> Float[Tensor, "users n"]:
        """Return noisy log-probabilities (a `CandidateScorer`, as DIN is)."""
        world, clusters = self.world, self.world.interests.shape[1]
        history = histories.window(self.history_length)
        cluster_of = torch.from_numpy(world.item_clusters)
        counts = torch.zeros((len(histories), clusters), dtype=torch.float64)
        counts.scatter_add_(
            1, cluster_of[history.items].clamp(min=0), history.mask.to(torch.float64)
        )
        share = (counts + self.smoothing / clusters) / (
            counts.sum(1, keepdim=True) + self.smoothing
        )
        within = torch.from_numpy(world.probabilities.max(0)).clamp(min=1e-12)
        probability = share.gather(1, cluster_of[items].clamp(min=0)) * within[items]
        random = torch.from_numpy(
            uniform(self.seed, histories.users.numpy()[:, None], items.numpy())
        )
        noise = torch.special.ndtri(random.clamp(min=2.0**-54))
        return probability.log() + self.noise * noise
