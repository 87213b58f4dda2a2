"""Capsules and their routing (§3.3): Sabour's dynamic routing, and B2I, behaviour to interest.

A capsule is a vector whose length, between 0 and 1, says how present something is and whose
direction says how. Routing decides how much of each low capsule (a behaviour) flows into each
high capsule (an interest): by agreement, in a few rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

SoftmaxOver = Literal["interests", "behaviors"]
Gradient = Literal["last", "all"]
Start = Literal["farthest", "gaussian"]
Agreement = Literal["cosine", "dot"]
CapsuleForm = Literal["mean", "squash"]

# Keeps the gradient of the length finite at the zero vector.
TINY = 1e-30
# Below this an interest has no behaviours to be the mean of.
LEAST_WEIGHT = 1e-6
# Two behaviours whose cosine is nearer to 1 are the same: well above rounding in 32 bits.
SAME = 1e-5


def squash(z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """squash(z) = |z|² / (1 + |z|²) · z / |z| (Eq. 7): keeps the direction, length below 1."""
    square = z.square().sum(-1, keepdim=True)
    return z * (torch.sqrt(square + TINY) / (1 + square))


def num_interests(lengths: Int[Tensor, "*batch"], max_interests: int) -> Int[Tensor, "*batch"]:
    """K'_u = max(1, min(K, log2 |I_u|)) (Eq. 9), rounded down.

    Args:
        lengths: |I_u|, the number of behaviours; 0 counts as 1.
        max_interests: K.
    """
    # How many of 2, 4, 8, ... the number reaches: exact where log2 in floating point is not, and
    # an operation that exports. (2^62 is the last power of two in 64 bits.)
    powers = 2 ** torch.arange(1, min(max_interests, 62) + 1, device=lengths.device)
    return (lengths[..., None] >= powers).sum(-1).clamp(min=1).to(lengths.dtype)


def active_interests(
    lengths: Int[Tensor, " batch"], max_interests: int, *, adaptive: bool
) -> Bool[Tensor, "batch interests"]:
    """Which of the K interest capsules each user has: the first K'_u (all, if not adaptive)."""
    order = torch.arange(max_interests, device=lengths.device)
    if not adaptive:
        # shape[0], not len(): it stays a symbol where the graph is traced for any batch.
        return (order >= 0).expand(lengths.shape[0], -1)
    return order < num_interests(lengths, max_interests)[:, None]


class Capsules(NamedTuple):
    """What routing returns.

    Attributes:
        vectors: the high capsules (interests), zeros where not active.
        active: which of them the user has.
        coupling: w, rows interests, columns behaviours; 0 for padding and inactive interests.
        logits: b after the last round's coupling was computed.
    """

    vectors: Float[Tensor, "batch interests dim"]
    active: Bool[Tensor, "batch interests"]
    coupling: Float[Tensor, "batch interests length"]
    logits: Float[Tensor, "batch interests length"]


def dynamic_routing(
    votes: Float[Tensor, "batch low high dim"],
    iterations: int,
    *,
    logits: Float[Tensor, "batch low high"] | None = None,
) -> tuple[Float[Tensor, "batch high dim"], Float[Tensor, "batch low high"]]:
    """The original routing by agreement between two layers of capsules (§3.3.1, Eqs. 4-7).

    Args:
        votes: S_ij c_i, what low capsule i predicts for high capsule j.
        iterations: r, at least 1.
        logits: the initial b_ij; zeros, as in the original, if not given.

    Returns:
        The high capsules, and the coupling w (which sums to 1 over the high capsules).
    """
    _check_iterations(iterations)
    logits = votes.new_zeros(votes.shape[:3]) if logits is None else logits
    for iteration in range(iterations):
        coupling = logits.softmax(-1)
        capsules = squash(torch.einsum("blh,blhd->bhd", coupling, votes))
        if iteration < iterations - 1:
            logits = logits + torch.einsum("bhd,blhd->blh", capsules, votes)
    return capsules, coupling  # pyright: ignore[reportPossiblyUnboundVariable]


def gaussian_logits(
    items: Int[Tensor, "batch length"], max_interests: int, *, sigma: float, seed: int
) -> Float[Tensor, "batch interests length"]:
    """Initial logits for evaluation: N(0, sigma²), a pure function of (seed, item, interest).

    The paper redraws b_ij at every call; then the same user gets other vectors at every request.
    Hashing the item instead of counting positions makes her vectors the same twice, whatever else
    is in the batch, wherever the window starts, and in whatever order her behaviours come.
    """
    keys = (
        items[:, None, :] * max_interests
        + torch.arange(max_interests, device=items.device)[:, None]
    )
    first = _uniform(_mix(keys + _mix(torch.tensor(2 * seed, device=items.device))))
    second = _uniform(_mix(keys + _mix(torch.tensor(2 * seed + 1, device=items.device))))
    # Box-Muller: two uniforms make a Gaussian.
    return sigma * torch.sqrt(-2 * torch.log(first)) * torch.cos(2 * math.pi * second)


def _mix(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """The finaliser of SplitMix64: every input bit flips about half of the output bits."""
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        x = (x ^ _shift_right(x, shift)) * factor
    return x ^ _shift_right(x, 31)


def _shift_right(x: Int[Tensor, "*shape"], by: int) -> Int[Tensor, "*shape"]:
    # torch has no unsigned 64-bit shift: mask the copies of the sign away.
    return (x >> by) & ((1 << (64 - by)) - 1)


def _uniform(x: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The top 24 bits as a number in (0, 1)."""
    return (_shift_right(x, 40).to(torch.float32) + 0.5) / (1 << 24)


def farthest_logits(
    votes: Float[Tensor, "batch length dim"],
    mask: Bool[Tensor, "batch length"],
    max_interests: int,
    *,
    scale: float,
) -> Float[Tensor, "batch interests length"]:
    """Initial logits that know the behaviours: scale · cos(seed_j, S e_i), nothing drawn.

    Interest j starts at a seed: a behaviour that is least like the seeds before it (the first is
    the one least like all together). The paper names a better start than noise as future work;
    this is what k-means does with farthest points. It depends neither on the behaviours' order
    nor on a seed of luck, so that serving has nothing to redraw. Where a user has fewer different
    behaviours than interests, the rest start at the mean direction of all: to repeat a seed would
    leave it to rounding, and so to the order, which one.

    Args:
        votes: S e_i.
        mask: True where there is a behaviour.
        max_interests: K.
        scale: what a cosine of 1 is worth.
    """
    unit = F.normalize(votes, dim=2)
    everything = (unit * mask[:, :, None]).sum(1, keepdim=True)
    with torch.no_grad():  # which behaviours are seeds is a choice and has no gradient
        cosine = unit @ unit.transpose(1, 2)
        likeness = (unit @ everything.transpose(1, 2)).squeeze(2).masked_fill(~mask, torch.inf)
        nearest = torch.full_like(likeness, -torch.inf).masked_fill(~mask, torch.inf)
        seeds, new = [_first_least(likeness)], [mask.any(1)]
        for _ in range(max_interests - 1):
            last = seeds[-1][:, None, None].expand(-1, 1, cosine.shape[2])
            nearest = torch.maximum(nearest, cosine.gather(1, last).squeeze(1))
            seeds.append(_first_least(nearest))
            new.append(nearest.amin(1) < 1 - SAME)
        chosen = torch.stack(seeds, dim=1)[:, :, None].expand(-1, -1, unit.shape[2])
        different = torch.stack(new, dim=1)[:, :, None]
    starts = torch.where(different, unit.gather(1, chosen), F.normalize(everything, dim=2))
    return scale * (starts @ unit.transpose(1, 2))


def _first_least(values: Float[Tensor, "batch length"]) -> Int[Tensor, " batch"]:
    """The place of the least value; of several that are equal but for rounding, the first."""
    return (values <= values.amin(1, keepdim=True) + SAME).int().argmax(1)


@dataclass(frozen=True)
class RoutingConfig:
    """The forms that §3.3.2's routing can take.

    The defaults are what was found by validation on real purchases (notebook 05); `paper` gives
    the paper's literal form.

    Attributes:
        max_interests: K.
        iterations: r.
        start: the initial logits: the paper's "gaussian" noise, or "farthest" behaviours.
        sigma: standard deviation of the noise; 0 makes all interests identical.
        adaptive: K'_u of Eq. 9; otherwise every user has K interests.
        agreement: of a behaviour with an interest, by the paper's "dot" product u' S e (Eq. 8), or
            by their "cosine".
        scale: what an agreement of 1 adds to a logit. (A cosine is at most 1, and a softmax
            over numbers below 1 is nearly even.)
        capsule: the paper's "squash" of the weighted sum (Eq. 7), or the weighted "mean".
        identity_map: whether S starts as the identity, or, as is usual, at random.
        softmax_over: Eq. 6 sums over interests in Algorithm 1; much public code sums over
            behaviours instead.
        gradient: through the last weighted sum only (coupling is a constant), or through all
            iterations.
    """

    max_interests: int = 4
    iterations: int = 3
    start: Start = "farthest"
    sigma: float = 1.0
    adaptive: bool = True
    agreement: Agreement = "cosine"
    scale: float = 4.0
    capsule: CapsuleForm = "mean"
    identity_map: bool = True
    softmax_over: SoftmaxOver = "interests"
    gradient: Gradient = "all"

    @classmethod
    def paper(cls, **changes: Any) -> RoutingConfig:
        """Algorithm 1 to the letter: noise, inner products, squashed capsules.

        Args:
            changes: fields that are to be different.
        """
        literal: dict[str, Any] = {
            "start": "gaussian",
            "agreement": "dot",
            "scale": 1.0,
            "capsule": "squash",
            "identity_map": False,
            "gradient": "last",
        }
        return cls(**literal | changes)

    def __post_init__(self) -> None:
        if self.max_interests < 1:
            raise ValueError(f"max_interests={self.max_interests}: expected K >= 1")
        _check_iterations(self.iterations)
        if not (self.sigma >= 0 and math.isfinite(self.sigma)):
            raise ValueError(f"sigma={self.sigma}: expected a finite standard deviation >= 0")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale={self.scale}: expected a positive number")
        for name, allowed in (
            ("start", ("farthest", "gaussian")),
            ("agreement", ("cosine", "dot")),
            ("capsule", ("mean", "squash")),
            ("softmax_over", ("interests", "behaviors")),
            ("gradient", ("last", "all")),
        ):
            if getattr(self, name) not in allowed:
                one, other = allowed
                raise ValueError(f"{name}={getattr(self, name)!r}: expected {one!r} or {other!r}")


class B2IRouting(nn.Module):
    """Behaviour-to-interest routing (§3.3.2, Algorithm 1) with one shared bilinear map S.

    The module holds no state but S: what is drawn comes in with each call.
    """

    def __init__(self, dim: int, config: RoutingConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.bilinear_map = nn.Parameter(torch.eye(dim))
        if not config.identity_map:
            nn.init.xavier_normal_(self.bilinear_map, generator=generator)

    def forward(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        mask: Bool[Tensor, "batch length"],
        logits: Float[Tensor, "batch interests length"] | None = None,
        *,
        flowing: Float[Tensor, "batch length dim"] | None = None,
    ) -> Capsules:
        """Route behaviours into interests.

        Args:
            behaviors: e_i, behaviour embeddings.
            mask: True where there is a behaviour.
            logits: the initial b_ij, rows interests, columns behaviours; of the farthest
                behaviours, if not given.
            flowing: what the capsules are made of, if it is not what the coupling is decided on.
        """
        config, s = self.config, self.bilinear_map
        active = active_interests(mask.sum(1), config.max_interests, adaptive=config.adaptive)
        with torch.set_grad_enabled(torch.is_grad_enabled() and config.gradient == "all"):
            if logits is None:
                votes = behaviors @ s.T
                logits = farthest_logits(votes, mask, config.max_interests, scale=config.scale)
            weights, logits = route(behaviors, s, mask, active, logits, config)
        drawn = behaviors if flowing is None else flowing
        vectors = capsules_of(weights, drawn, s, config.capsule)
        return Capsules(vectors, active, weights, logits)


def route(
    behaviors: Float[Tensor, "batch length dim"],
    bilinear_map: Float[Tensor, "dim dim"],
    mask: Bool[Tensor, "batch length"],
    active: Bool[Tensor, "batch interests"],
    logits: Float[Tensor, "batch interests length"],
    config: RoutingConfig,
) -> tuple[Float[Tensor, "batch interests length"], Float[Tensor, "batch interests length"]]:
    """The rounds of Algorithm 1: the coupling w of the last one, and the logits behind it.

    S is shared, so sum_i w_ij S e_i = S (sum_i w_ij e_i) and u_j' S e_i = (S' u_j)' e_i: S is
    applied to the few interests and never to the many behaviours.
    """
    absent = ~(active[:, :, None] & mask[:, None, :])
    weights = coupling(logits, absent, config.softmax_over)
    directions = config.agreement == "cosine"
    heard = F.normalize(behaviors @ bilinear_map.T, dim=2) if directions else behaviors
    for _ in range(config.iterations - 1):
        interests = capsules_of(weights, behaviors, bilinear_map, config.capsule)
        said = F.normalize(interests, dim=2) if directions else interests @ bilinear_map
        # b_ij <- b_ij + u_j' S e_i (Eq. 8)
        logits = torch.baddbmm(logits, said, heard.transpose(1, 2), alpha=config.scale)
        weights = coupling(logits, absent, config.softmax_over)
    return weights, logits


def capsules_of(
    weights: Float[Tensor, "batch interests length"],
    behaviors: Float[Tensor, "batch length dim"],
    bilinear_map: Float[Tensor, "dim dim"],
    form: CapsuleForm,
) -> Float[Tensor, "batch interests dim"]:
    """u_j = squash(z_j), z_j = sum_i w_ij S e_i (Eq. 7), or the mean z_j / sum_i w_ij."""
    sums = weights @ behaviors @ bilinear_map.T
    if form == "squash":
        return squash(sums)
    # An inactive interest has no weight and no sum: it stays zero.
    return sums / weights.sum(2, keepdim=True).clamp(min=LEAST_WEIGHT)


def coupling(
    logits: Float[Tensor, "batch interests length"],
    absent: Bool[Tensor, "batch interests length"],
    softmax_over: SoftmaxOver,
) -> Float[Tensor, "batch interests length"]:
    """w_ij (Eq. 6): for each behaviour the weights over interests sum to 1.

    In the other reading, for each interest the weights over behaviours do.

    Args:
        absent: True for padding and for inactive interests, whose weight is 0. Before the softmax
            they get a finite floor, so that they take nothing from the others; where all are
            absent the softmax is even (with -inf it would be NaN), hence the zeros after it.
    """
    floored = logits.masked_fill(absent, torch.finfo(logits.dtype).min)
    return floored.softmax(1 if softmax_over == "interests" else 2).masked_fill(absent, 0)


def _check_iterations(iterations: int) -> None:
    if iterations < 1:
        raise ValueError(f"iterations={iterations}: routing needs r >= 1 rounds")
