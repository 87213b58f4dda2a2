"""YouTube DNN (Covington, Adams & Sargin 2016): one vector, the mean of the behaviors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.histories import History
from mindlib.models.vector import Interests, VectorConfig, VectorModel


@dataclass(frozen=True)
class YouTubeDNNConfig(VectorConfig):
    """Options of YouTube DNN: those of every vector model."""


class YouTubeDNN(VectorModel):
    """The mean of a user's behavior embeddings, followed by the head (Covington et al. 2016).

    Unlike MIND it has one vector for a user and no routing: the case K = 1 of Eq. 1.
    """

    config_class = YouTubeDNNConfig

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Average the behaviors, then apply the head."""
        mean = mean_of_behaviors(self.apply_dropout(behaviors, generator), history)
        return Interests.all_active(self.user_vectors(mean[:, None, :], history))


def mean_of_behaviors(
    behaviors: Float[Tensor, "batch length dim"], history: History
) -> Float[Tensor, "batch dim"]:
    """Average over the behaviors without padding; zeros for a user who has none."""
    count = history.mask.sum(1, keepdim=True).clamp(min=1)
    return (behaviors * history.mask[:, :, None]).sum(1) / count
