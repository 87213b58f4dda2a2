"""ComiRec (Cen et al. 2020): interests by self-attention (SA) or by dynamic routing (DR)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.data.histories import History
from mindlib.data.option_types import SIZE
from mindlib.layers.routing import dynamic_routing, squash
from mindlib.models.vector_model import Interests, MultiInterestConfig, VectorModel, check_window

# The hidden dimension of the self-attention, as a multiple of d (as published).
ATTENTION_FACTOR = 4


@dataclass(frozen=True)
class ComiRecSAConfig(MultiInterestConfig):
    """Options of ComiRec-SA.

    Attributes:
        hidden: None as published: the interests are the user vectors, and there is no profile.
        positions: whether position embeddings are added to the keys of the attention.
    """

    hidden: Annotated[tuple[int, ...] | None, SIZE] = None
    positions: bool = True


@dataclass(frozen=True)
class ComiRecDRConfig(MultiInterestConfig):
    """Options of ComiRec-DR.

    Attributes:
        hidden: None as published: the interests are the user vectors, and there is no profile.
        history_length: the maximum number of behaviors. Each position has a d x d matrix for each
            interest.
        iterations: r, the number of routing iterations.
    """

    hidden: Annotated[tuple[int, ...] | None, SIZE] = None
    iterations: Annotated[int, SIZE] = 3


class ComiRecSA(VectorModel):
    """Compute K interests by self-attention over the behaviors (ComiRec-SA, Cen et al. 2020).

    V_u = H A with A = softmax(W_2 tanh(W_1 (H + P)))', where H are the behavior embeddings and P
    position embeddings. Unlike in MIND, every user has K interests, the order of the behaviors
    matters, and the interests do not compete for behaviors, because the softmax is over the
    behaviors.
    """

    config_class = ComiRecSAConfig

    def build(self, generator: torch.Generator) -> None:
        """Create the attention weights W_1 and W_2 and the position embeddings."""
        config = self.config
        hidden = ATTENTION_FACTOR * config.dim
        self.inner = nn.Parameter(torch.empty(hidden, config.dim))
        self.outer = nn.Parameter(torch.empty(config.max_interests, hidden))
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
        """Compute K weighted sums of the behaviors. Position 0 is the oldest of the window."""
        keys = behaviors
        if self.config.positions:
            check_window(behaviors, self.config.history_length)
            length = behaviors.shape[1]
            keys = behaviors + self.positions[:length]
        logits = self.outer @ torch.tanh(keys @ self.inner.T).transpose(1, 2)
        absent = ~history.mask[:, None, :]
        # Mask with a finite number, then with 0: -inf would give NaN for an empty history.
        weights = logits.masked_fill(absent, torch.finfo(logits.dtype).min).softmax(2)
        weights = weights.masked_fill(absent, 0)
        vectors = weights @ self.apply_dropout(behaviors, generator)
        return Interests.all_active(self.user_vectors(vectors, history), weights)


class ComiRecDR(VectorModel):
    """Compute K interests by dynamic routing of the behaviors (ComiRec-DR, Cen et al. 2020).

    Each position i and interest k has a matrix W_ik. Unlike in MIND, these matrices instead of
    random logits break the symmetry between interests, the order of the behaviors matters, and
    every user has K interests. As in the published code, no gradient passes through the coupling.
    """

    config_class = ComiRecDRConfig

    def build(self, generator: torch.Generator) -> None:
        """Create the matrices W_ik, one for each position and interest."""
        c = self.config
        self.maps = nn.Parameter(torch.empty(c.history_length, c.max_interests, c.dim, c.dim))
        nn.init.normal_(self.maps, std=c.dim**-0.5, generator=generator)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Route the votes W_ik e_i (Eqs. 4-7). Position 0 is the oldest behavior of the window."""
        check_window(behaviors, self.config.history_length)
        length = behaviors.shape[1]
        # Padding is a zero vector, so its votes are zero and do not change the capsules.
        votes = torch.einsum("bld,lked->bkle", behaviors, self.maps[:length])
        with torch.no_grad():
            _, weights = dynamic_routing(votes, self.config.iterations)
        values = self.apply_dropout(behaviors, generator)
        if values is not behaviors:
            votes = torch.einsum("bld,lked->bkle", values, self.maps[:length])
        capsules = squash(torch.einsum("bkl,bkle->bke", weights, votes))
        coupling = weights * history.mask[:, None, :]
        return Interests.all_active(self.user_vectors(capsules, history), coupling)
