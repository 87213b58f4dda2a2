"""The head: an MLP that maps an interest and the user profile to a user vector (§3.3)."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Factor of the initial weights of a residual head's last layer, which makes it almost the identity.
RESIDUAL_INIT_SCALE = 0.1

HeadKind = Literal["residual", "relu"]


class Head(nn.Module):
    """Map an interest capsule and the user profile to the user vector v_u^k (H, §3.3).

    The paper specifies neither the number and dimensions of the ReLU layers nor the last
    activation. The last layer is linear here, because a ReLU would confine all user vectors to the
    positive orthant. The residual form v = u + H(u, p_u) starts near v = u. Interests and items
    then have common directions from the first step, because both are weighted means of the same
    embeddings.

    Args:
        dim: d, the dimension of interests and user vectors.
        profile_dim: the dimension of p_u; 0 without a profile.
        hidden: dimensions of the hidden layers.
        kind: "relu" layers (paper), or "residual", which adds their output to the interest.
    """

    def __init__(
        self,
        dim: int,
        profile_dim: int,
        hidden: tuple[int, ...],
        kind: HeadKind = "relu",
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.kind = kind
        sizes = (dim + profile_dim, *hidden, dim)
        layers = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(sizes)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        *inner, last = layers
        self.layers = nn.Sequential(*(m for layer in inner for m in (layer, nn.ReLU())), last)
        if kind == "residual":
            with torch.no_grad():
                last.weight.mul_(RESIDUAL_INIT_SCALE)

    def forward(
        self,
        vectors: Float[Tensor, "batch interests dim"],
        profile: Float[Tensor, "batch profile_dim"],
    ) -> Float[Tensor, "batch interests dim"]:
        """Compute the user vector v_u^k of each interest capsule."""
        profile = profile[:, None, :].expand(-1, vectors.shape[1], -1)
        output = self.layers(torch.cat([vectors, profile], dim=2))
        return vectors + output if self.kind == "residual" else output
