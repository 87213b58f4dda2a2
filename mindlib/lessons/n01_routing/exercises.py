"""The exercises of notebook 01: squash, and one round of routing."""

from __future__ import annotations

import torch
from torch import Tensor

from mindlib.layers.routing import squash
from mindlib.lessons.common.staged import Exercise

# Votes and logits by hand: three low capsules, two high ones, two dimensions, one example.
VOTES = torch.tensor([[[[2.0, 1], [1, 2]], [[2, -1], [-1, -2]], [[-2, 0], [0, 2]]]])
LOGITS = torch.tensor([[[0.5, -0.5], [1.0, 0.0], [-1.0, 2.0]]])


def routing_round(logits: Tensor, votes: Tensor) -> Tensor:
    """The logits after one round: coupling (Eq. 6), capsules (Eqs. 5 and 7), agreement (Eq. 4)."""
    coupling = logits.softmax(2)
    capsules = squash(torch.einsum("blh,blhd->bhd", coupling, votes))
    return logits + torch.einsum("bhd,blhd->blh", capsules, votes)


def _over_low_capsules(logits: Tensor, votes: Tensor) -> Tensor:
    capsules = squash(torch.einsum("blh,blhd->bhd", logits.softmax(1), votes))
    return logits + torch.einsum("bhd,blhd->blh", capsules, votes)


def _replaced(logits: Tensor, votes: Tensor) -> Tensor:
    return routing_round(logits, votes) - logits


def _unsquashed(logits: Tensor, votes: Tensor) -> Tensor:
    sums = torch.einsum("blh,blhd->bhd", logits.softmax(2), votes)
    return logits + torch.einsum("bhd,blhd->blh", sums, votes)


def _unweighted(logits: Tensor, votes: Tensor) -> Tensor:
    capsules = squash(votes.sum(1))
    return logits + torch.einsum("bhd,blhd->blh", capsules, votes)


def _logits_as_weights(logits: Tensor, votes: Tensor) -> Tensor:
    capsules = squash(torch.einsum("blh,blhd->bhd", logits, votes))
    return logits + torch.einsum("bhd,blhd->blh", capsules, votes)


def _unit(z: Tensor) -> Tensor:
    return z / z.norm(dim=-1, keepdim=True)


def _twice_divided(z: Tensor) -> Tensor:
    square = z.square().sum(-1, keepdim=True)
    return square / (1 + square) * z / square


def _square_forgotten(z: Tensor) -> Tensor:
    length = z.norm(dim=-1, keepdim=True)
    return length / (1 + length) * _unit(z)


def _undivided(z: Tensor) -> Tensor:
    square = z.square().sum(-1, keepdim=True)
    return square / (1 + square) * z


def _zero_by_zero(z: Tensor) -> Tensor:
    square = z.square().sum(-1, keepdim=True)
    return square / (1 + square) * z / square.sqrt()


def _first_axis(z: Tensor) -> Tensor:
    return squash(z.transpose(0, -1)).transpose(0, -1)


def _all_at_once(z: Tensor) -> Tensor:
    square = z.square().sum()
    return z * square.sqrt() / (1 + square)


def _each_number(z: Tensor) -> Tensor:
    return z * z.abs() / (1 + z.square())


SQUASH = Exercise(
    name="squash",
    solution=squash,
    examples=[
        (torch.tensor([3.0, 4.0]),),
        (torch.tensor([[3.0, 4.0], [0.3, -0.4], [0.0, 1.0]]),),
        (torch.linspace(-2, 2, 24).reshape(2, 3, 4),),
        (torch.tensor([[0.0, 0.0], [3.0, 4.0]]),),
    ],
    mistakes={
        "every vector has length 1. squash(z) also has the factor |z|² / (1 + |z|²).": _unit,
        "you divide by |z| twice. |z|² / (1 + |z|²) is the length; z / |z| is the direction.": (
            _twice_divided
        ),
        "the square is missing: the length is |z|² / (1 + |z|²), not |z| / (1 + |z|).": (
            _square_forgotten
        ),
        "z keeps its own length. Divide it by |z|, so that only its direction is left.": _undivided,
        "the length is taken over all vectors at once. Each has its own: sum over the last axis.": (
            _all_at_once
        ),
        "each number is squashed by itself. A capsule is a vector: sum over the last axis.": (
            _each_number
        ),
        "the length is taken over the first axis. A capsule's numbers lie along the last one.": (
            _first_axis
        ),
        "all is right but the zero vector, where you divide 0 by 0. Cancel one |z|, or add a tiny "
        "number to |z|² before the root.": _zero_by_zero,
    },
)

ROUTING_ROUND = Exercise(
    name="routing_round",
    solution=routing_round,
    examples=[
        (LOGITS, VOTES),
        (LOGITS.expand(2, -1, -1) * torch.tensor([1.0, -2.0])[:, None, None],
         torch.cat([VOTES, VOTES.flip(1)])),
    ],
    mistakes={
        "the softmax runs over the low capsules. For each low capsule the weights over the high "
        "capsules sum to 1: the last axis of the logits.": _over_low_capsules,
        "the agreement replaces the logits. Add it to them: b ← b + u'v.": _replaced,
        "the capsules are not squashed before they meet the votes.": _unsquashed,
        "the votes are summed without their weights. z_j = sum_i w_ij v_ij.": _unweighted,
        "the logits are used as weights. First w = softmax(b).": _logits_as_weights,
    },
)  # fmt: skip
