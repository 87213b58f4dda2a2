"""ComiRec (Cen et al. 2020): interests by self-attention (SA) and by dynamic routing (DR).

Both let the label choose one interest (argmax) in training, and give every user K of them. Unlike
MIND they know the order of the behaviours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.layers.attention import label_aware_attention
from mindlib.layers.routing import check_interests, check_iterations, dynamic_routing, squash
from mindlib.models.vector import (
    Interests,
    VectorConfig,
    VectorModel,
    check_window,
)

# The hidden layer of self-attention is this many times as wide as an embedding, as published.
ATTENTION_WIDTH = 4


@dataclass(frozen=True)
class ComiRecSAConfig(VectorConfig):
    """What ComiRec-SA is built with.

    Attributes:
        max_interests: K, which every user has.
        hidden: None as published, where interests are user vectors as they are and there is no
            profile; widths for the head and the profile that MIND has.
        positions: whether attention sees the order, by an embedding of each place in the window.
    """

    hidden: tuple[int, ...] | None = None
    max_interests: int = 4
    positions: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interests(self.max_interests)


@dataclass(frozen=True)
class ComiRecDRConfig(VectorConfig):
    """What ComiRec-DR is built with.

    Attributes:
        max_interests: K, which every user has.
        hidden: as in `ComiRecSAConfig`.
        history_length: the behaviours that it sees, the last ones; there are d x d weights for
            each of them and each interest.
        iterations: r.
    """

    hidden: tuple[int, ...] | None = None
    max_interests: int = 4
    iterations: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interests(self.max_interests)
        check_iterations(self.iterations)


class _ComiRec(VectorModel):
    """What the two share: the hard readout."""

    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The interest with the best score for the label: v_u = V_u[:, argmax_k e_i' v_u^k]."""
        return label_aware_attention(interests.vectors, interests.active, labels, math.inf)


class ComiRecSA(_ComiRec):
    """V_u = H A with A = softmax(W_2' tanh(W_1 (H + positions)))', over the behaviours.

    H has the behaviours' embeddings in its columns. Each interest is thus an average of item
    embeddings with weights that look at one behaviour at a time: unlike routing, an interest
    does not know what the others have taken.
    """

    def __init__(
        self,
        log: Interactions,
        config: ComiRecSAConfig | None = None,
        *,
        generator: torch.Generator,
    ) -> None:
        config = config or ComiRecSAConfig()
        super().__init__(log, config, generator=generator)
        width = ATTENTION_WIDTH * config.dim
        self.inner = nn.Parameter(torch.empty(width, config.dim))
        self.outer = nn.Parameter(torch.empty(config.max_interests, width))
        nn.init.xavier_normal_(self.inner, generator=generator)
        nn.init.xavier_normal_(self.outer, generator=generator)
        if config.positions:
            self.positions = nn.Parameter(torch.empty(config.history_length, config.dim))
            nn.init.normal_(self.positions, std=config.dim**-0.5, generator=generator)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Attention over the behaviours, K times. Places count from the oldest in the window."""
        placed = behaviors
        if self.config.positions:
            check_window(behaviors, self.config.history_length)
            length = behaviors.shape[1]
            placed = behaviors + self.positions[:length]
        logits = self.outer @ torch.tanh(placed @ self.inner.T).transpose(1, 2)
        absent = ~history.mask[:, None, :]
        # A finite floor, and zeros afterwards: without behaviours the softmax is even, not NaN.
        weights = logits.masked_fill(absent, torch.finfo(logits.dtype).min).softmax(2)
        weights = weights.masked_fill(absent, 0)
        vectors = self.user_vectors(weights @ self.apply_dropout(behaviors, generator), history)
        return Interests(vectors, history.mask.new_ones(vectors.shape[:2]), weights)


class ComiRecDR(_ComiRec):
    """Dynamic routing from zero logits, with a matrix W_ik for each place i and interest k.

    Three things differ from MIND: the matrices break the symmetry and not random logits, they
    depend on a behaviour's place, and K does not depend on the user. As in the published code the
    coupling of the last round is a constant to the gradient.
    """

    def __init__(
        self,
        log: Interactions,
        config: ComiRecDRConfig | None = None,
        *,
        generator: torch.Generator,
    ) -> None:
        config = config or ComiRecDRConfig()
        super().__init__(log, config, generator=generator)
        self.maps = nn.Parameter(
            torch.empty(config.history_length, config.max_interests, config.dim, config.dim)
        )
        nn.init.normal_(self.maps, std=config.dim**-0.5, generator=generator)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Votes W_ik e_i, routed by agreement (Eqs. 4-7). Places count from the oldest."""
        check_window(behaviors, self.config.history_length)
        length = behaviors.shape[1]
        # Padding is a zero vector, so its votes are zero and it moves no capsule.
        votes = torch.einsum("bld,lked->blke", behaviors, self.maps[:length])
        with torch.no_grad():
            _, weights = dynamic_routing(votes, self.config.iterations)
        dropped = self.apply_dropout(behaviors, generator)
        if dropped is not behaviors:
            votes = torch.einsum("bld,lked->blke", dropped, self.maps[:length])
        vectors = self.user_vectors(squash(torch.einsum("blk,blke->bke", weights, votes)), history)
        coupling = weights.transpose(1, 2) * history.mask[:, None, :]
        return Interests(vectors, history.mask.new_ones(vectors.shape[:2]), coupling)
