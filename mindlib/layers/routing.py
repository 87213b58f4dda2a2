"""Behavior-to-interest (B2I) routing: dynamic routing of capsules with a shared map S (§3.3).

Routing is a soft clustering of a user's behaviors e_i into interest capsules u_j. An iteration
turns the routing logits b_ij into coupling coefficients w_ij, sums the mapped behaviors with
these weights, and raises the logits of the behaviors that agree with an interest:

    Eq. 6  `compute_coupling`   w_ij = softmax over the interests j of b_ij
    Eq. 7  `compute_interests`  u_j = squash(z_j),  z_j = sum_i w_ij S e_i
    Eq. 8  `route`              b_ij <- b_ij + u_j' S e_i
    Eq. 9  `num_interests`      K'_u = max(1, min(K, log2 |I_u|))

`B2IRouting` is the layer (Algorithm 1); `dynamic_routing` is the original algorithm (Eqs. 4-7).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mindlib.data.option_types import FACTOR, FACTOR_OR_0, SIZE, Options, check_option
from mindlib.layers.initial_logits import farthest_point_logits, inverse_norms

Initialization = Literal["farthest", "gaussian"]
Agreement = Literal["cosine", "dot"]
CapsuleForm = Literal["mean", "squash"]
SoftmaxOver = Literal["interests", "behaviors"]
Gradient = Literal["all", "last"]

# Added under the square root in `squash`; otherwise its gradient at zero would be infinite.
EPS = 1e-30
# Lower bound of the divisor of a weighted mean, because an inactive interest has weight 0.
MIN_WEIGHT = 1e-6
INITIAL_SHRINKAGE = math.log(math.e - 1)  # softplus maps it to 1


@dataclass(frozen=True)
class RoutingConfig(Options):
    """Options of B2I routing. The defaults are the tuned ones; `paper()` returns Algorithm 1.

    Attributes:
        max_interests: K, the maximum number of interests of a user.
        iterations: r, the number of routing iterations.
        initial_logits: "gaussian" noise (paper), or "farthest" for farthest-point initialization.
        sigma: standard deviation of the Gaussian initial logits.
        adaptive: whether a user has K'_u interests (Eq. 9) instead of K.
        agreement: "dot" product u_j' S e_i (Eq. 8), or "cosine" of u_j and S e_i.
        inverse_temperature: factor of the agreement. Cosines need one, because they are at most 1
            and the softmax of unscaled cosines is almost uniform.
        capsule: "squash" of the weighted sum (Eq. 7), or the weighted "mean" without squashing.
        identity_map: whether S is initialized as the identity instead of randomly.
        softmax_over: the axis of the softmax of Eq. 6: "interests" as in Algorithm 1, or
            "behaviors" as in much public code.
        gradient: back-propagate through "all" iterations, or through the "last" weighted sum only,
            with the coupling coefficients as constants.
        shrinkage: whether the mean of all the user's behaviors is added to each interest with a
            learned weight s, initially that of one behavior (not in the paper). It keeps interests
            with few behaviors near this mean.
    """

    max_interests: Annotated[int, SIZE] = 4
    iterations: Annotated[int, SIZE] = 3
    initial_logits: Initialization = "farthest"
    sigma: Annotated[float, FACTOR_OR_0] = 1.0
    adaptive: bool = True
    agreement: Agreement = "cosine"
    inverse_temperature: Annotated[float, FACTOR] = 4.0
    capsule: CapsuleForm = "mean"
    identity_map: bool = True
    softmax_over: SoftmaxOver = "interests"
    gradient: Gradient = "all"
    shrinkage: bool = False

    @classmethod
    def paper(cls, **changes: Any) -> RoutingConfig:
        """Return the configuration of Algorithm 1, with `changes` to its fields."""
        literal: dict[str, Any] = {
            "initial_logits": "gaussian",
            "agreement": "dot",
            "inverse_temperature": 1.0,
            "capsule": "squash",
            "identity_map": False,
            "gradient": "last",
        }
        return cls(**literal | changes)


class Capsules(NamedTuple):
    """The result of B2I routing.

    Attributes:
        vectors: the interest capsules u_j; zeros if inactive.
        active: whether the user has this interest.
        coupling: w_ij; 0 at padding and for inactive interests.
        logits: the routing logits b_ij, whose softmax is the coupling.
    """

    vectors: Float[Tensor, "batch interests dim"]
    active: Bool[Tensor, "batch interests"]
    coupling: Float[Tensor, "batch interests length"]
    logits: Float[Tensor, "batch interests length"]


class B2IRouting(nn.Module):
    """Route behaviors to interest capsules with one shared bilinear map S (Algorithm 1)."""

    def __init__(self, dim: int, config: RoutingConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.bilinear_map = nn.Parameter(torch.eye(dim))
        if not config.identity_map:
            nn.init.xavier_normal_(self.bilinear_map, generator=generator)
        if config.shrinkage:
            self.shrinkage = nn.Parameter(torch.tensor(INITIAL_SHRINKAGE))

    def forward(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        mask: Bool[Tensor, "batch length"],
        initial_logits: Float[Tensor, "batch interests length"] | None = None,
        *,
        values: Float[Tensor, "batch length dim"] | None = None,
        weights: Float[Tensor, "batch length"] | None = None,
    ) -> Capsules:
        """Compute the interest capsules of each user.

        Args:
            behaviors: the behavior embeddings e_i; zeros at padding.
            mask: True where there is a behavior.
            initial_logits: the initial b_ij; those of `farthest_point_logits` by default.
            values: the embeddings that the capsules sum up; `behaviors` by default. With dropout,
                these are the embeddings after dropout, whereas the coupling is computed from
                `behaviors`, the embeddings before dropout.
            weights: factors of the coupling in that sum; 1 by default.
        """
        config, bilinear_map = self.config, self.bilinear_map
        active = active_interests(mask.sum(1), config.max_interests, adaptive=config.adaptive)
        with torch.set_grad_enabled(torch.is_grad_enabled() and config.gradient == "all"):
            coupling, logits = route(behaviors, bilinear_map, mask, active, initial_logits, config)
        values = behaviors if values is None else values
        shares = coupling if weights is None else coupling * weights[:, None, :]
        if config.shrinkage:
            total = shares.sum(1, keepdim=True)  # of each behavior over the interests
            mean = total / total.sum(2, keepdim=True).clamp(min=MIN_WEIGHT)
            shares = (shares + F.softplus(self.shrinkage) * mean) * active[:, :, None]
        interests = compute_interests(shares, values, bilinear_map, config.capsule)
        return Capsules(interests, active, coupling, logits)


def route(
    behaviors: Float[Tensor, "batch length dim"],
    bilinear_map: Float[Tensor, "dim dim"],
    mask: Bool[Tensor, "batch length"],
    active: Bool[Tensor, "batch interests"],
    routing_logits: Float[Tensor, "batch interests length"] | None,
    config: RoutingConfig,
) -> tuple[Float[Tensor, "batch interests length"], Float[Tensor, "batch interests length"]]:
    """Return the coupling coefficients w_ij and the logits b_ij of Algorithm 1's last iteration.

    Because S is shared, sum_i w_ij S e_i = S (sum_i w_ij e_i) and u_j' S e_i = (S' u_j)' e_i.
    Therefore S is applied to the few interests instead of the many behaviors. Only the cosine and
    the farthest points, by which missing logits are initialized, need the votes S e_i. Dividing the
    products by the norms of the votes is less work than dividing the votes.
    """
    is_cosine = config.agreement == "cosine"
    keys, scale = behaviors, config.inverse_temperature
    votes = behaviors @ bilinear_map.T if is_cosine or routing_logits is None else behaviors
    if routing_logits is None:
        routing_logits = farthest_point_logits(
            votes, mask, config.max_interests, inverse_temperature=scale
        )
    if is_cosine:
        keys, scale = votes, scale * inverse_norms(votes)[:, None, :]
    absent = ~(active[:, :, None] & mask[:, None, :])
    coupling = compute_coupling(routing_logits, absent, config.softmax_over)
    for _ in range(config.iterations - 1):
        interests = compute_interests(coupling, behaviors, bilinear_map, config.capsule)
        queries = F.normalize(interests, dim=2) if is_cosine else interests @ bilinear_map
        routing_logits = routing_logits + scale * (queries @ keys.transpose(1, 2))  # Eq. 8
        coupling = compute_coupling(routing_logits, absent, config.softmax_over)
    return coupling, routing_logits


def compute_coupling(
    logits: Float[Tensor, "batch interests length"],
    absent: Bool[Tensor, "batch interests length"],
    softmax_over: SoftmaxOver,
) -> Float[Tensor, "batch interests length"]:
    """Compute the coupling coefficients w_ij = exp(b_ij) / sum_k exp(b_ik) (Eq. 6).

    Each behavior's weights over the interests sum to 1; with softmax_over="behaviors", each
    interest's weights over the behaviors do.

    Args:
        logits: the routing logits b_ij.
        absent: True for padding and inactive interests, which get weight 0. They are masked before
            the softmax, so that they take no weight from the others. This mask is a finite number,
            because -inf would give NaN where all are absent. There the softmax is uniform, so the
            mask is applied again after it.
        softmax_over: see `RoutingConfig`.
    """
    check_option("softmax_over", softmax_over, SoftmaxOver)
    masked = logits.masked_fill(absent, torch.finfo(logits.dtype).min)
    return masked.softmax(1 if softmax_over == "interests" else 2).masked_fill(absent, 0)


def compute_interests(
    coupling: Float[Tensor, "batch interests length"],
    behaviors: Float[Tensor, "batch length dim"],
    bilinear_map: Float[Tensor, "dim dim"],
    form: CapsuleForm,
) -> Float[Tensor, "batch interests dim"]:
    """Compute the capsules u_j = squash(z_j), z_j = sum_i w_ij S e_i (Eq. 7).

    With form="mean" they are the weighted means z_j / sum_i w_ij.
    """
    check_option("form", form, CapsuleForm)
    sums = coupling @ behaviors @ bilinear_map.T
    if form == "squash":
        return squash(sums)
    return sums / coupling.sum(2, keepdim=True).clamp(min=MIN_WEIGHT)


def squash(z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Shrink vectors to a norm below 1: squash(z) = |z|² / (1 + |z|²) * z / |z| (Eq. 7)."""
    square = z.square().sum(-1, keepdim=True)
    return z * (torch.sqrt(square + EPS) / (1 + square))


def num_interests(lengths: Int[Tensor, "*batch"], max_interests: int) -> Int[Tensor, "*batch"]:
    """Compute K'_u = max(1, min(K, floor(log2 |I_u|))), the number of interests (Eq. 9).

    The lengths |I_u| are the users' numbers of behaviors, and K is the maximum.
    """
    # Count the powers 2, 4, 8, ... up to |I_u|: exact, unlike a floating-point logarithm, and
    # exportable. 2^62 is the last power of two in 64 bits.
    powers = 2 ** torch.arange(1, min(max_interests, 62) + 1, device=lengths.device)
    return (lengths[..., None] >= powers).sum(-1).clamp(min=1).to(lengths.dtype)


def active_interests(
    lengths: Int[Tensor, " batch"], max_interests: int, *, adaptive: bool
) -> Bool[Tensor, "batch interests"]:
    """Return the mask of active interests: a user's first K'_u (Eq. 9), or all if not adaptive."""
    order = torch.arange(max_interests, device=lengths.device)
    if not adaptive:
        # shape[0] stays symbolic when the graph is exported for any batch size; len() does not.
        return (order >= 0).expand(lengths.shape[0], -1)
    return order < num_interests(lengths, max_interests)[:, None]


def dynamic_routing(
    votes: Float[Tensor, "batch high low dim"],
    iterations: int,
    *,
    logits: Float[Tensor, "batch high low"] | None = None,
) -> tuple[Float[Tensor, "batch high dim"], Float[Tensor, "batch high low"]]:
    """Route capsules of one layer to the next by agreement (§3.3.1; Sabour et al. 2017).

    Args:
        votes: S_ij c_i, the prediction of low-level capsule i for high-level capsule j.
        iterations: r, the number of iterations, at least 1.
        logits: the initial b_ij; zeros by default.

    Returns:
        The high-level capsules and the coupling w_ij, which sums to 1 over the high-level capsules.
    """
    if iterations < 1:
        raise ValueError(f"iterations={iterations}: expected r >= 1 routing iterations")
    logits = votes.new_zeros(votes.shape[:3]) if logits is None else logits
    coupling = logits.softmax(1)
    capsules = squash(torch.einsum("bhl,bhld->bhd", coupling, votes))
    for _ in range(iterations - 1):
        logits = logits + torch.einsum("bhd,bhld->bhl", capsules, votes)
        coupling = logits.softmax(1)
        capsules = squash(torch.einsum("bhl,bhld->bhd", coupling, votes))
    return capsules, coupling
