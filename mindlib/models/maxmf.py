"""MaxMF (Weston, Weiss & Yee 2013): K vectors per user, and the maximum of their scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.data.histories import History
from mindlib.models.vector_model import Interests, MultiInterestConfig, VectorModel
from mindlib.models.youtube_dnn import mean_of_behaviors


@dataclass(frozen=True)
class MaxMFConfig(MultiInterestConfig):
    """Options of MaxMF, the same as for every model with a fixed number of vectors per user."""


class MaxMF(VectorModel):
    """Compute K user vectors as linear maps of the mean behavior, v_u^k = M_k mean(e_i).

    Nonlinear latent factorization (Weston et al. 2013) has K free vectors for each user, and the
    score max_k e_i' v_u^k. Free vectors cannot represent new users or new behaviors. Therefore the
    K vectors are computed from the mean behavior here. Unlike in MIND, the maps M_k are the same
    for all users, and there is no routing. The original scores each negative by its own best
    vector; train with loss="candidate", the default, for that.
    """

    config_class = MaxMFConfig

    def build(self, generator: torch.Generator) -> None:
        """Create the K linear maps M_k."""
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
        """Apply the K linear maps M_k to the mean behavior, then the head."""
        mean = mean_of_behaviors(self.apply_dropout(behaviors, generator), history)
        views = torch.einsum("bd,ked->bke", mean, self.maps)
        return Interests.all_active(self.user_vectors(views, history))
