"""Routing by agreement taken apart (§3.3.1): every round of it kept, and what the rounds climb.

`mindlib.layers.routing.dynamic_routing` is the form to use. The functions here look inside it, and
take the readings that it does not offer. Votes are v_ij = S_ij c_i, low capsule i's for high
capsule j; w is the coupling and u_j = squash(sum_i w_ij v_ij).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.layers.routing import squash

SoftmaxAxis = Literal["high", "low"]


def routing_by_loops(
    votes: Float[Tensor, "low high dim"], iterations: int
) -> tuple[Float[Tensor, "high dim"], Float[Tensor, "low high"]]:
    """Dynamic routing of one example, one number after the other (Eqs. 4 to 7).

    The sum of Eq. 6 runs over the high capsules, and the agreement of Eq. 4 is added to the logits:
    both as in Algorithm 1, not as the two equations are printed.
    """
    low, high, dim = votes.shape
    v = votes.tolist()
    b = [[0.0] * high for _ in range(low)]
    w = [[0.0] * high for _ in range(low)]
    u = [[0.0] * dim for _ in range(high)]
    for _ in range(iterations):
        for i in range(low):  # Eq. 6: the sum runs over the high capsules
            total = sum(math.exp(b[i][k]) for k in range(high))
            w[i] = [math.exp(b[i][j]) / total for j in range(high)]
        for j in range(high):
            z = [sum(w[i][j] * v[i][j][d] for i in range(low)) for d in range(dim)]  # Eq. 5
            length = math.hypot(*z)
            scale = length / (1 + length**2)  # Eq. 7: length² / (1 + length²) / length
            u[j] = [scale * x for x in z]
        for i in range(low):  # Eq. 4, added to what is there
            for j in range(high):
                b[i][j] += sum(u[j][d] * v[i][j][d] for d in range(dim))
    return votes.new_tensor(u), votes.new_tensor(w)


class Rounds(NamedTuple):
    """What happened in each round; the first index is the round.

    Attributes:
        logits: b, as the round's softmax saw it.
        coupling: w.
        capsules: u, the high capsules made with that coupling.
    """

    logits: Float[Tensor, "rounds batch low high"]
    coupling: Float[Tensor, "rounds batch low high"]
    capsules: Float[Tensor, "rounds batch high dim"]


def route_and_record(
    votes: Float[Tensor, "batch low high dim"],
    iterations: int,
    *,
    logits: Float[Tensor, "batch low high"] | None = None,
    over: SoftmaxAxis = "high",
    accumulate: bool = True,
    mask: Bool[Tensor, "batch low"] | None = None,
) -> Rounds:
    """Dynamic routing with every round kept, in this and in other readings.

    Args:
        votes: v_ij.
        iterations: r, at least 1.
        logits: the initial b_ij; zeros if not given.
        over: "high": each low capsule's weights sum to 1 (Algorithm 1). "low": each high
            capsule's weights do.
        accumulate: add the agreement to the logits (Algorithm 1), or put it in their place.
        mask: False for padding, whose weight is set to 0 after the softmax.
    """
    if iterations < 1:
        raise ValueError(f"iterations={iterations}: routing needs r >= 1 rounds")
    if over not in ("high", "low"):
        raise ValueError(f"over={over!r}: expected 'high' or 'low'")
    b = votes.new_zeros(votes.shape[:3]) if logits is None else logits
    # For each high capsule a matrix (low, dim), laid out once: both products are then plain ones,
    # and hundreds of rounds take half the time.
    by_high = votes.transpose(1, 2).contiguous()
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(iterations):
        w = b.softmax(2 if over == "high" else 1)
        if mask is not None:
            w = w * mask[:, :, None]
        u = squash((w.transpose(1, 2)[:, :, None] @ by_high).squeeze(2))
        kept.append((b, w, u))
        agreement = (by_high @ u[..., None]).squeeze(3).transpose(1, 2)
        b = b + agreement if accumulate else agreement
    return Rounds(*(torch.stack(parts) for parts in zip(*kept, strict=True)))


def total_agreement(
    coupling: Float[Tensor, "*rounds batch low high"], votes: Float[Tensor, "batch low high dim"]
) -> Float[Tensor, "*rounds batch"]:
    """G(w) = sum_j (|z_j| - arctan |z_j|), z_j = sum_i w_ij v_ij: what the rounds climb.

    It is the best of sum_ij w_ij u_j' v_ij - sum_j cost(|u_j|) over all u, found at u = squash(z);
    `length_cost` is the cost. Its derivative by w_ij is the agreement u_j' v_ij.
    """
    length = torch.einsum("...blh,blhd->...bhd", coupling, votes).norm(dim=-1)
    return (length - length.atan()).sum(-1)


class Climb(NamedTuple):
    """What each round gains.

    Attributes:
        agreement: G(w), as in `total_agreement`.
        with_entropy: F(w) = G(w) + sum_i H(w_i).
        moved: sum_i KL(w_i || w_i of the round before), from the second round on.
    """

    agreement: Float[Tensor, "rounds batch"]
    with_entropy: Float[Tensor, "rounds batch"]
    moved: Float[Tensor, "steps batch"]


def climb(rounds: Rounds, votes: Float[Tensor, "batch low high dim"]) -> Climb:
    """Two objectives in each round, and how far w moved; the softmax is over high capsules."""
    agreement = total_agreement(rounds.coupling, votes)
    return Climb(
        agreement,
        agreement + torch.special.entr(rounds.coupling).sum((2, 3)),
        divergence(rounds.logits[1:], rounds.logits[:-1]).sum(2),
    )


def length_cost(length: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """arcsin(sqrt l) - sqrt(l (1 - l)), l in [0, 1]: the price of a length that squash pays.

    squash(z) is the u that maximises u' z - length_cost(|u|).
    """
    return length.sqrt().asin() - (length * (1 - length)).sqrt()


def evenness(coupling: Float[Tensor, "*shape high"]) -> Float[Tensor, "*shape"]:
    """Entropy of each low capsule's coupling, from 0 (all or nothing) to 1 (even).

    Weights that do not sum to 1 over the high capsules are first scaled so that they do.
    """
    share = coupling / coupling.sum(-1, keepdim=True).clamp(min=1e-12)
    return torch.special.entr(share).sum(-1) / math.log(coupling.shape[-1])


def divergence(
    new: Float[Tensor, "*shape high"], now: Float[Tensor, "*shape high"]
) -> Float[Tensor, "*shape"]:
    """KL(softmax(new) || softmax(now)), from the logits: weights that underflow to 0 do no harm."""
    return (new.softmax(-1) * (new.log_softmax(-1) - now.log_softmax(-1))).sum(-1)


def squash_derivatives(
    lengths: Float[Tensor, " n"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """How far squash(z) moves for a small step of z along z, and across z: by autograd.

    Args:
        lengths: of z.
    """
    z = torch.stack([lengths, torch.zeros_like(lengths)], dim=1)
    jacobian = torch.vmap(torch.func.jacrev(squash))(z)
    return jacobian[:, 0, 0], jacobian[:, 1, 1]


def rounds_in_words(votes: Float[Tensor, "low high dim"], rounds: Rounds) -> str:
    """Every number of the rounds of one example, as text."""

    def numbers(values: Tensor) -> str:
        return "(" + ", ".join(f"{x:6.3f}" for x in values.tolist()) + ")"

    lines = []
    for t in range(len(rounds.logits)):
        b, w, u = (part[t, 0] for part in rounds)
        z = torch.einsum("lh,lhd->hd", w, votes)
        agreement = torch.einsum("hd,lhd->lh", u, votes)
        lines.append(f"ROUND {t + 1}")
        for i in range(votes.shape[0]):
            lines.append(f"  low {i + 1}:  b = {numbers(b[i])}  w = {numbers(w[i])}")
        for j in range(votes.shape[1]):
            lines.append(
                f"  high {j + 1}: z = {numbers(z[j])}  |z| = {z[j].norm():.3f}"
                f"  u = {numbers(u[j])}  |u| = {u[j].norm():.3f}"
            )
        for i in range(votes.shape[0]):
            lines.append(f"  agreement of low {i + 1}: {numbers(agreement[i])}")
    return "\n".join(lines)
