"""YouTube DNN with cosine scores and a temperature: a strong single-vector baseline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mindlib.data.histories import History
from mindlib.data.option_types import FACTOR, check_options
from mindlib.models.youtube_dnn import YouTubeDNN, YouTubeDNNConfig


@dataclass(frozen=True)
class CosineDNNConfig(YouTubeDNNConfig):
    """Options of the cosine form of YouTube DNN.

    Attributes:
        temperature: divisor of the cosine between user and item.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self, temperature=FACTOR)


class CosineDNN(YouTubeDNN):
    """YouTube DNN whose score is cos(v_u, e_i) / temperature, as in contrastive retrieval models.

    Unlike MIND and YouTube DNN, it cannot express popularity by the norm of e_i. The temperature
    restores the range of the softmax, which is narrow for cosines.
    """

    config_class = CosineDNNConfig

    def build(self, generator: torch.Generator) -> None:
        """Configure the item embeddings to be normalized to norm 1."""
        self.items.is_normalized = True

    def user_vectors(
        self, interests: Float[Tensor, "batch interests dim"], history: History
    ) -> Float[Tensor, "batch interests dim"]:
        """Apply the head and rescale the user vectors to norm 1 / temperature."""
        vectors = super().user_vectors(interests, history)
        return F.normalize(vectors, dim=2) / self.config.temperature
