"""A ranker for all arms of a planted world, so that arms differ in their candidates alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.option_types import AT_LEAST_0, check_options
from mindlib.data.planted import PlantedWorld
from mindlib.online.simulation.assignment import uniform

HISTORY_LENGTH = 50  # number of most recent behaviours that count
SMOOTHING = 1.0  # pseudo-count, distributed over all clusters
SEED = 0  # of the noise


@dataclass(frozen=True)
class PlantedRanker:
    """A stand-in for DIN that has the true item distribution but must infer the user's interests.

    The score of an item is the logarithm of its probability as the next event, given the history,

        log(smoothed share of recent behaviours in its cluster) + log P(item | cluster),

    plus Gaussian noise that is a function of (user, item) and therefore the same in every arm. A
    click counts from the next request on, and no arm's geometry is favoured.

    Attributes:
        noise: standard deviation of the noise; 1 is a factor of e on the probability.
    """

    world: PlantedWorld
    noise: float = 1.0

    def __post_init__(self) -> None:
        check_options(self, noise=AT_LEAST_0)

    def score_lists(
        self, histories: Histories, items: Int[Tensor, "users n"]
    ) -> Float[Tensor, "users n"]:
        """Return noisy log-probabilities (a `CandidateScorer`, as DIN is)."""
        world, clusters = self.world, self.world.interests.shape[1]
        history = histories.window(HISTORY_LENGTH)
        cluster_of = torch.from_numpy(world.item_clusters)
        counts = torch.zeros((len(histories), clusters), dtype=torch.float64)
        seen = cluster_of[history.items].clamp(min=0)
        counts.scatter_add_(1, seen, history.mask.to(torch.float64))
        total = counts.sum(1, keepdim=True) + SMOOTHING
        share = (counts + SMOOTHING / clusters) / total
        within = torch.from_numpy(world.probabilities.max(0)).clamp(min=1e-12)
        probability = share.gather(1, cluster_of[items].clamp(min=0)) * within[items]
        random = uniform(SEED, histories.users.numpy()[:, None], items.numpy())
        noise = torch.special.ndtri(torch.from_numpy(random).clamp(min=2.0**-54))
        return probability.log() + self.noise * noise
