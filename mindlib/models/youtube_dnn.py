"""YouTube DNN (Covington et al. 2016): the mean of the behaviours, one vector a user."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.models.vector import Interests, VectorModel, check_shape


@dataclass(frozen=True)
class YouTubeDNNConfig:
    """What it is built with: `dim` d, the widths of the ReLU layers, the behaviours it sees."""

    dim: int = 64
    hidden: tuple[int, ...] = (128,)
    history_length: int = 50

    def __post_init__(self) -> None:
        check_shape(self.dim, self.hidden, self.history_length)


class YouTubeDNN(VectorModel):
    """One vector a user: the case K = 1 of Eq. 1."""

    def __init__(
        self,
        log: Interactions,
        config: YouTubeDNNConfig | None = None,
        *,
        generator: torch.Generator,
    ) -> None:
        config = config or YouTubeDNNConfig()
        super().__init__(
            log,
            dim=config.dim,
            hidden=config.hidden,
            history_length=config.history_length,
            generator=generator,
        )
        self.config = config

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """The mean over the behaviours there are, then the head."""
        count = history.mask.sum(1, keepdim=True).clamp(min=1)
        mean = (behaviors * history.mask[:, :, None]).sum(1) / count
        vectors = self.head(mean[:, None, :], self.profile(history.profile))
        return Interests(vectors, history.mask.new_ones(mean.shape[0], 1), None)

    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The one vector, whatever the label."""
        return interests.vectors[:, 0]
