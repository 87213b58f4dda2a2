"""MaxMF (Weston, Weiss & Yee 2013): K linear views of a user and the maximum of their scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.data.histories import History
from mindlib.models.vector import Interests, MultiInterestConfig, VectorModel
from mindlib.models.youtube_dnn import mean_of_behaviors


@dataclass(frozen=True)
class MaxMFConfig(MultiInterestConfig):
    """Options of MaxMF with K vectors: those of the models with the same K for every user."""


class MaxMF(VectorModel):
    """K vectors v_u^k = M_k mean(e_i) without routing, and the score max_k e_i' v_u^k.

    Nonlinear latent factorization (Weston et al. 2013) has K free vectors for each user. They are
    folded in here, because free vectors cannot represent new users and new behaviors: each of the
    K sets of user vectors is a linear map M_k of the mean behavior. Unlike MIND, the K vectors are
    the same functions of the mean for all users. Negatives have their own best vector in the
    original, which is loss="best" in training.
    """

    config_class = MaxMFConfig

    def build(self, generator: torch.Generator) -> None:
        """Create the maps M_k."""
        k, dim = self.config.max_interests, self.config.dim
        self.maps = nn.Parameter(torch.empty(k, dim, dim))
        nn.init.normal_(self.maps, std=dim**-0.5, generator=generator)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Apply the K maps to the mean of the behaviors, then the head."""
        mean = mean_of_behaviors(self.apply_dropout(behaviors, generator), history)
        views = torch.einsum("bd,ked->bke", mean, self.maps)
        return Interests.all_active(self.user_vectors(views, history))
