"""Routing by agreement over many draws (§3.3.1): whether it settles, and what it finds.

The votes are planted: which low capsules belong together is known, and what they vote for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize, one_hot, pad

from mindlib.lessons.n01_routing.agreement import Rounds, SoftmaxAxis, evenness, route_and_record


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
        return length * normalize(drawn, dim=-1)

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


def groups_taken(
    capsules: Float[Tensor, "*rounds draws high dim"], centers: Float[Tensor, "draws groups dim"]
) -> Int[Tensor, "*rounds draws high"]:
    """The group that each high capsule takes: its cosine with that group's centre is largest."""
    unit, goal = normalize(capsules, dim=-1), normalize(centers, dim=-1)
    return (unit @ goal.transpose(1, 2)).argmax(-1)


def groups_found(
    capsules: Float[Tensor, "*rounds draws high dim"], centers: Float[Tensor, "draws groups dim"]
) -> Bool[Tensor, "*rounds draws"]:
    """Whether every group is taken by some high capsule."""
    taken = one_hot(groups_taken(capsules, centers), centers.shape[1])
    return taken.any(-2).all(-1)


def chance_of_all(taken: Int[Tensor, "draws capsules"], groups: int) -> Float[Tensor, " draws"]:
    """How likely as many capsules as groups are to take each group once, each on its own.

    Estimated without bias from many capsules of the same draw, which take groups independently.
    """
    counts = one_hot(taken, groups).sum(1).to(torch.float64)
    return math.factorial(groups) * counts.prod(1) / math.perm(taken.shape[1], groups)


class Watched(NamedTuple):
    """What there is to see in one example, as the figures take it.

    Attributes:
        logits, coupling: b and w.
        entropy: of each low capsule's coupling, from 0 (all or nothing) to 1 (even).
        closeness: the cosine of each high capsule with each planted centre.
        groups: the group of each low capsule.
    """

    logits: Float[np.ndarray, "rounds low high"]
    coupling: Float[np.ndarray, "rounds low high"]
    entropy: Float[np.ndarray, "rounds low"]
    closeness: Float[np.ndarray, "rounds high groups"]
    groups: Int[np.ndarray, " low"]


def watched(planted: PlantedVotes, rounds: Rounds) -> Watched:
    """The first draw, round by round."""
    logits, coupling, capsules = (part[:, 0] for part in rounds)
    closeness = normalize(capsules, dim=-1) @ normalize(planted.centers[0], dim=-1).T
    return Watched(
        logits.numpy(),
        coupling.numpy(),
        evenness(coupling).numpy(),
        closeness.numpy(),
        planted.groups[0].numpy(),
    )


def watched_example(
    rounds: int, *, shared: bool, over: SoftmaxAxis, noise: float, seed: int
) -> Watched:
    """One planted example; where votes are shared the initial logits are N(0, 1), else zeros."""
    generator = torch.Generator().manual_seed(seed)
    planted = planted_votes(1, noise=noise, shared=shared, generator=generator)
    first = torch.randn(1, 12, 3, dtype=torch.float64, generator=generator) if shared else None
    return watched(planted, route_and_record(planted.votes, rounds, logits=first, over=over))


def holds_from(
    holds: Bool[Tensor, "rounds draws"],
) -> Int[Tensor, " draws"]:
    """The first round (from 1) from which something holds until the last; rounds + 1 if none."""
    broken = (~holds).flip(0).to(torch.int64).cumsum(0).flip(0) > 0
    return broken.sum(0) + 1


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


class Convergence(NamedTuple):
    """How routing comes to rest.

    Attributes:
        first: `settling_rounds`.
        step: the largest change of a weight from each round to the next.
        rest: how far the weight that is farthest from its last value still is from it.
        hard: the share of all weights that are within the tolerance of 0 or 1.
        cosine: of the high capsules with the centres planted for them, averaged.
    """

    first: dict[str, Int[Tensor, " draws"]]
    step: Float[Tensor, "steps draws"]
    rest: Float[Tensor, "rounds draws"]
    hard: Float[Tensor, " rounds"]
    cosine: Float[Tensor, " rounds"]


def convergence(
    planted: PlantedVotes, rounds: int, *, tolerance: float, same_direction: float
) -> Convergence:
    """Route planted votes from zero logits, and measure each round against the last.

    Args:
        tolerance, same_direction: as for `settling_rounds`.
    """
    run = route_and_record(planted.votes, rounds)
    w = run.coupling
    return Convergence(
        settling_rounds(run, tolerance=tolerance, same_direction=same_direction),
        w.diff(dim=0).abs().amax((2, 3)),
        (w - w[-1]).abs().amax((2, 3)),
        (torch.minimum(w, 1 - w) < tolerance).to(w.dtype).mean((1, 2, 3)),
        torch.cosine_similarity(run.capsules, planted.centers, dim=3).mean((1, 2)),
    )


def slow_cases(rounds: int, *, noise: float, seed: int) -> dict[str, Float[Tensor, "rounds low"]]:
    """The coupling with the first of two high capsules, where routing is slow, and once where not.

    There are two groups of four low capsules.
    """

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    tied = planted_votes(1, groups=2, noise=noise, shared=True, generator=generator()).votes
    nudge = 1e-3 * torch.randn(1, 8, 2, dtype=torch.float64, generator=generator())

    def own(length: float) -> Rounds:
        planted = planted_votes(1, groups=2, noise=noise, length=length, generator=generator())
        return route_and_record(planted.votes, rounds)

    runs = {
        "tied: same votes,\nzero logits": route_and_record(tied, rounds),
        "nearly tied: same votes,\nlogits of about 0.001": route_and_record(
            tied, rounds, logits=nudge
        ),
        "short votes\n(length 0.25)": own(0.25),
        "to compare: long votes\n(length 8)": own(8.0),
    }
    return {name: run.coupling[:, 0, :, 0] for name, run in runs.items()}


class PaddingTrial(NamedTuple):
    """What padding does to the high capsules.

    Attributes:
        capsules: the high capsules.
        length: their mean length.
        kept: the weight on real low capsules, as a share of what it would be without padding:
            1 for each real low capsule, or, with the softmax over low ones, 1 for each high one.
    """

    capsules: Float[Tensor, "batch high dim"]
    length: float
    kept: float


def padding_trial(
    votes: Float[Tensor, "batch real high dim"],
    logits: Float[Tensor, "batch places high"],
    iterations: int,
    over: SoftmaxAxis,
    *,
    mask_first: bool = False,
) -> PaddingTrial:
    """Pad votes with zeros to the places of the logits, and mask the padding after the softmax.

    Args:
        mask_first: strike the padding out before the softmax as well.
    """
    batch, real, high, _ = votes.shape
    places = logits.shape[1]
    padded = pad(votes, (0, 0, 0, 0, 0, places - real))
    present = (torch.arange(places) < real).expand(batch, -1)
    if mask_first:
        logits = logits.masked_fill(~present[:, :, None], torch.finfo(logits.dtype).min)
    rounds = route_and_record(padded, iterations, logits=logits, over=over, mask=present)
    whole = real if over == "high" else high
    return PaddingTrial(
        rounds.capsules[-1],
        float(rounds.capsules[-1].norm(dim=-1).mean()),
        float(rounds.coupling[-1].sum((1, 2)).mean()) / whole,
    )
