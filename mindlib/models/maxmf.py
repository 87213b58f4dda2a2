"""MaxMF: nonlinear latent factorisation (Weston, Weiss & Yee 2013), K vectors without routing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.layers.attention import label_aware_attention
from mindlib.layers.routing import check_interests
from mindlib.models.vector import Interests, VectorConfig, VectorModel
from mindlib.models.youtube_dnn import mean_of_behaviors


@dataclass(frozen=True)
class MaxMFConfig(VectorConfig):
    """What MaxMF-K is built with.

    Attributes:
        max_interests: K, which every user has.
        hidden: None for M_k alone, without the profile.
    """

    max_interests: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interests(self.max_interests)


class MaxMF(VectorModel):
    """A user has K vectors and an item the score of the best one: max_k e_i' v_u^k.

    In the original the K vectors of each user are free parameters. Then there is nothing to say
    about a new user, nor about yesterday's user who has bought something since; here a model is
    given pasts and not names. So the free vectors are folded in, as matrix factorisation without
    user parameters does it: v_u^k = M_k (1/|I_u|) sum_i e_i, one map M_k for each of the K sets
    of user vectors. What stays is the idea: K fixed views of a user, the maximum as the only
    nonlinearity, and in training the gradient through the view that wins. With K = 1 it is
    YouTube DNN with one more linear layer.

    In the original a negative too is scored by its own best vector: `mindlib.training.losses` has
    that loss. In Eq. 10, which all models of this package share, it is by the label's choice.
    """

    def __init__(
        self, log: Interactions, config: MaxMFConfig | None = None, *, generator: torch.Generator
    ) -> None:
        config = config or MaxMFConfig()
        super().__init__(log, config, generator=generator)
        self.maps = nn.Parameter(torch.empty(config.max_interests, config.dim, config.dim))
        nn.init.normal_(self.maps, std=config.dim**-0.5, generator=generator)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """K maps of the mean over the behaviours there are, then the head."""
        mean = mean_of_behaviors(self.apply_dropout(behaviors, generator), history)
        views = torch.einsum("bd,ked->bke", mean, self.maps)
        active = history.mask.new_ones(views.shape[:2])
        return Interests(self.user_vectors(views, history), active, None)

    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The vector with the best score for the label."""
        return label_aware_attention(interests.vectors, interests.active, labels, math.inf)
