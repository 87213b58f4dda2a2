"""YouTube DNN (Covington et al. 2016): the mean of the behaviours, one vector a user."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.models.vector import Interests, VectorConfig, VectorModel


@dataclass(frozen=True)
class YouTubeDNNConfig(VectorConfig):
    """What YouTube DNN is built with: nothing of its own."""


class YouTubeDNN(VectorModel):
    """One vector a user: the case K = 1 of Eq. 1."""

    def __init__(
        self,
        log: Interactions,
        config: YouTubeDNNConfig | None = None,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(log, config or YouTubeDNNConfig(), generator=generator)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """The mean over the behaviours there are, then the head."""
        mean = mean_of_behaviors(self.apply_dropout(behaviors, generator), history)
        vectors = self.user_vectors(mean[:, None, :], history)
        return Interests(vectors, history.mask.new_ones(mean.shape[0], 1), None)

    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The one vector, whatever the label."""
        return interests.vectors[:, 0]


def mean_of_behaviors(
    behaviors: Float[Tensor, "batch length dim"], history: History
) -> Float[Tensor, "batch dim"]:
    """The mean over the behaviours there are; zeros where there is none."""
    count = history.mask.sum(1, keepdim=True).clamp(min=1)
    return (behaviors * history.mask[:, :, None]).sum(1) / count
