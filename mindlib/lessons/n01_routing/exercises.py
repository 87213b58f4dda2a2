"""The exercises of notebook 01: routing of a batch, and hard instead of soft assignment."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from mindlib.layers.routing import squash
from mindlib.lessons.common.staged import Exercise

# Votes (B, K, L, d) for which all mistakes differ.
VOTES = 2 * torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))


def _route(
    votes: Tensor,
    r: int,
    softmax: Callable[[Tensor], Tensor] = lambda b: b.softmax(-2),
    *,
    keep: float = 1.0,
    capsule: Callable[[Tensor], Tensor] = squash,
) -> Tensor:
    """Route votes (..., K, L, d), with variations that are mistakes; return the capsules."""
    b, u = votes.new_zeros(votes.shape[:-1]), votes
    for _ in range(r):
        u = capsule((softmax(b)[..., None] * votes).sum(-2))
        b = keep * b + (u[..., None, :] * votes).sum(-1)
    return u


def _one_hot(b: Tensor) -> Tensor:
    return F.one_hot(b.argmax(0), len(b)).T.float()


ROUTE_BATCH = Exercise(
    name="route_batch",
    solution=_route,
    examples=[(VOTES, 1), (VOTES, 3)],
    mistakes={
        "the softmax runs over the behaviors. For each behavior the weights of the interests sum "
        "to 1, and the interests are axis 1 of b.": partial(_route, softmax=lambda b: b.softmax(2)),
        "the softmax runs over the users of the batch. Axis 0 is the batch now.": partial(
            _route, softmax=lambda b: b.softmax(0)
        ),
        "the agreement replaces the logits. Add it: b = b + ...": partial(_route, keep=0.0),
        "the sums are not squashed.": partial(_route, capsule=lambda z: z),
    },
)

HARD_ROUTING = Exercise(
    name="hard_routing",
    solution=partial(_route, softmax=_one_hot),
    examples=[(VOTES[0], 1), (VOTES[1], 3), (VOTES[2], 4)],
    mistakes={
        "the assignment is still soft.": _route,
        "each interest takes one behavior. Each behavior must choose one interest: the argmax "
        "runs over axis 0.": partial(
            _route, softmax=lambda b: F.one_hot(b.argmax(1), b.shape[1]).float()
        ),
        "the agreement replaces the logits. Add it: b = b + ...": partial(
            _route, softmax=_one_hot, keep=0.0
        ),
    },
)
