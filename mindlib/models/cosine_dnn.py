"""YouTube DNN with unit vectors and a temperature: a strong form of the single vector."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.models.youtube_dnn import YouTubeDNN, YouTubeDNNConfig


@dataclass(frozen=True)
class CosineDNNConfig(YouTubeDNNConfig):
    """What it is built with.

    Attributes:
        temperature: the score of an item is its cosine to the user vector, divided by this.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature={self.temperature}: expected a positive number")


class CosineDNN(YouTubeDNN):
    """YouTube DNN whose score is cos(v_u, e_i) / temperature.

    An inner product grows with the length of e_i, and popular items grow long. A cosine does not
    know popularity; the temperature gives the softmax the reach that unit vectors lack.
    """

    config: CosineDNNConfig

    def __init__(
        self,
        log: Interactions,
        config: CosineDNNConfig | None = None,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(log, config or CosineDNNConfig(), generator=generator)
        self.items.unit = True

    def user_vectors(
        self, interests: Float[Tensor, "batch interests dim"], history: History
    ) -> Float[Tensor, "batch interests dim"]:
        """v_u of length 1 / temperature."""
        vectors = super().user_vectors(interests, history)
        return F.normalize(vectors, dim=2) / self.config.temperature
