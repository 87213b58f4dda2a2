"""YouTube DNN (Covington, Adams & Sargin 2016): one vector, the mean of the behaviors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.histories import History
from mindlib.models.vector_model import Interests, VectorConfig, VectorModel


@dataclass(frozen=True)
class YouTubeDNNConfig(VectorConfig):
    """Options of YouTube DNN, the same as for every vector model."""


class YouTubeDNN(VectorModel):
    """The mean of a user's behavior embeddings, followed by the head (Covington et al. 2016).

    Unlike MIND it has one vector per user (K = 1 in Eq. 1) and no routing.
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
    """Compute the mean behavior embedding, ignoring padding; zeros for an empty history."""
    count = history.mask.sum(1, keepdim=True).clamp(min=1)
    return (behaviors * history.mask[:, :, None]).sum(1) / count
