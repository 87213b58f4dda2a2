"""The steps from YouTube DNN to MIND-1: with K = 1 routing is pooling, and pooling has three parts.

MIND-1 is squash(sum of S e_i), YouTube DNN the mean of e_i; in between one part is changed at a
time (§3.3.2 with K = 1, against §4.2's baseline).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.layers.routing import squash
from mindlib.models.vector_model import Interests, VectorConfig, VectorModel


@dataclass(frozen=True)
class PooledConfig(VectorConfig):
    """How behaviours become one vector.

    Attributes:
        pool: the mean of the behaviours, or their sum.
        bilinear: apply S.
        squashed: squash the result.
    """

    pool: Literal["mean", "sum"] = "mean"
    bilinear: bool = False
    squashed: bool = False


class Pooled(VectorModel):
    """One vector a user: pooled, perhaps mapped by S, perhaps squashed, then the head."""

    def __init__(
        self, log: Interactions, config: PooledConfig | None = None, *, generator: torch.Generator
    ) -> None:
        config = config or PooledConfig()
        super().__init__(log, config, generator=generator)
        self.bilinear_map = None
        if config.bilinear:
            self.bilinear_map = nn.Parameter(torch.empty(config.dim, config.dim))
            nn.init.xavier_normal_(self.bilinear_map, generator=generator)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Sum or mean, S, squash, head."""
        behaviors = self.apply_dropout(behaviors, generator)
        pooled = (behaviors * history.mask[:, :, None]).sum(1)
        if self.config.pool == "mean":
            pooled = pooled / history.mask.sum(1, keepdim=True).clamp(min=1)
        if self.bilinear_map is not None:
            pooled = pooled @ self.bilinear_map.T
        if self.config.squashed:
            pooled = squash(pooled)
        vectors = self.user_vectors(pooled[:, None, :], history)
        return Interests(vectors, history.mask.new_ones(len(pooled), 1), None)

    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The one vector, whatever the label."""
        return interests.vectors[:, 0]
