"""Routing by agreement taken apart (§3.3.1): every round of it kept, and what the rounds climb.

`mindlib.layers.routing.dynamic_routing` is the form to use. The functions here look inside it, and
take the readings that it does not offer. Votes are v_ij = S_ij c_i, low capsule i's for high
capsule j; w is the coupling and u_j = squash(sum_i w_ij v_ij).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from mindlib.layers.routing import squash

SoftmaxAxis = Literal["high", "low"]


def routing_by_loops(
    votes: Float[Tensor, "low high dim"], iterations: int
) -> tuple[Float[Tensor, "high dim"], Float[Tensor, "low high"]]:
    """Dynamic routing of one example as Eqs. 4 to 7 are printed: one number after the other."""
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
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(iterations):
        w = b.softmax(2 if over == "high" else 1)
        if mask is not None:
            w = w * mask[:, :, None]
        u = squash(torch.einsum("blh,blhd->bhd", w, votes))
        kept.append((b, w, u))
        agreement = torch.einsum("bhd,blhd->blh", u, votes)
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


def length_cost(length: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """arcsin(sqrt l) - sqrt(l (1 - l)), l in [0, 1]: the price of a length that squash pays.

    squash(z) is the u that maximises u' z - length_cost(|u|).
    """
    return length.sqrt().asin() - (length * (1 - length)).sqrt()


def holds_from(
    holds: Bool[Tensor, "rounds draws"],
) -> Int[Tensor, " draws"]:
    """The first round (from 1) from which something holds until the last; rounds + 1 if none."""
    broken = (~holds).flip(0).to(torch.int64).cumsum(0).flip(0) > 0
    return broken.sum(0) + 1


class PlantedVotes(NamedTuple):
    """Votes with known groups.

    Attributes:
        votes: v_ij; as many high capsules as groups.
        groups: the group of each low capsule.
        centers: what the members of each group vote for.
    """

    votes: Float[Tensor, "draws low high dim"]
    groups: Int[Tensor, "draws low"]
    centers: Float[Tensor, "draws groups dim"]


def planted_votes(
    draws: int,
    *,
    groups: int = 3,
    members: int = 4,
    dim: int = 8,
    length: float = 2.0,
    noise: float = 0.3,
    shared: bool = False,
    generator: torch.Generator,
) -> PlantedVotes:
    """Groups of low capsules whose votes agree.

    Args:
        draws: independent examples.
        groups, members: how many groups, and low capsules in each.
        length: of the centres, whose directions are uniformly random.
        noise: how long the noise in a vote is, as a share of the length.
        shared: a low capsule gives the same vote to every high capsule (as with MIND's shared S).
            Otherwise group j agrees only in what it tells high capsule j (as with Sabour's S_ij),
            and what it tells the others is random, of the same length.
    """
    low = groups * members

    def directions(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, dim, dtype=torch.float64, generator=generator)
        return length * torch.nn.functional.normalize(drawn, dim=-1)

    centers = directions(draws, groups)
    member = (torch.arange(low) // members).expand(draws, -1)
    own = centers.gather(1, member[:, :, None].expand(-1, -1, dim))
    shape = (draws, low, dim)
    own = own + noise * length / dim**0.5 * torch.randn(
        shape, dtype=torch.float64, generator=generator
    )
    if shared:
        votes = own[:, :, None, :].expand(-1, -1, groups, -1).contiguous()
    else:
        votes = directions(draws, low, groups)
        votes[:, torch.arange(low), member[0]] = own
    return PlantedVotes(votes, member, centers)


def groups_found(
    capsules: Float[Tensor, "draws high dim"], centers: Float[Tensor, "draws groups dim"]
) -> Bool[Tensor, "draws groups"]:
    """Which groups have a high capsule of their own: one that points nearest to their centre."""
    unit = torch.nn.functional.normalize(capsules, dim=-1)
    goal = torch.nn.functional.normalize(centers, dim=-1)
    nearest = (unit @ goal.transpose(1, 2)).argmax(-1)
    return torch.nn.functional.one_hot(nearest, centers.shape[1]).any(1)


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


def settling_rounds(
    rounds: Rounds, *, tolerance: float, same_direction: float
) -> dict[str, Int[Tensor, " draws"]]:
    """From which round on each draw is where it is in the last round, by three criteria.

    Args:
        tolerance: what a weight may be off.
        same_direction: the cosine from which two capsules point the same way.
    """
    w, u = rounds.coupling, rounds.capsules
    near = (w - w[-1]).abs().amax((2, 3)) < tolerance
    chosen = (w.argmax(3) == w[-1].argmax(2)).all(2)
    points = (torch.cosine_similarity(u, u[-1:], dim=3) > same_direction).all(2)
    return {
        f"each weight is within {tolerance:g} of its end": holds_from(near),
        "each low capsule has made its choice": holds_from(chosen),
        "each high capsule points where it will": holds_from(points),
    }


class PaddingTrial(NamedTuple):
    """What padding does to capsules that are masked after the softmax.

    Attributes:
        capsules: the high capsules.
        length: their mean length.
        kept: the share of all weight that is left after the mask, if padding took none of it.
    """

    capsules: Float[Tensor, "batch high dim"]
    length: float
    kept: float


def padding_trial(
    votes: Float[Tensor, "batch real high dim"],
    logits: Float[Tensor, "batch places high"],
    iterations: int,
    over: SoftmaxAxis,
) -> PaddingTrial:
    """Pad votes with zeros to the places of the logits, and mask the padding after the softmax."""
    batch, real, high, _ = votes.shape
    places = logits.shape[1]
    padded = torch.nn.functional.pad(votes, (0, 0, 0, 0, 0, places - real))
    present = (torch.arange(places) < real).expand(batch, -1)
    rounds = route_and_record(padded, iterations, logits=logits, over=over, mask=present)
    whole = real if over == "high" else high
    return PaddingTrial(
        rounds.capsules[-1],
        float(rounds.capsules[-1].norm(dim=-1).mean()),
        float(rounds.coupling[-1].sum((1, 2)).mean()) / whole,
    )


def share_with_interval(hits: Bool[Tensor, " draws"]) -> tuple[float, float, float]:
    """The share of true values and its 95 % Wilson interval."""
    test = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return float(hits.to(torch.float64).mean()), float(test.low), float(test.high)
