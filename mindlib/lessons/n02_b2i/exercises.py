"""The exercises of notebook 02: one masked iteration, repeatable interests."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mindlib.layers.routing import compute_coupling, squash
from mindlib.lessons.common.staged import Exercise


def one_iteration(
    e: Float[Tensor, "batch length dim"],
    mask: Bool[Tensor, "batch length"],
    active: Bool[Tensor, "batch interests"],
    S: Float[Tensor, "dim dim"],
    b: Float[Tensor, "batch interests length"],
) -> Float[Tensor, "batch interests dim"]:
    """Compute u_j = squash(sum over i of w_ij S e_i), with w from these logits."""
    absent = ~(active[:, :, None] & mask[:, None, :])
    return squash(compute_coupling(b, absent, "interests") @ e @ S.T)


def _inactive_kept(e, mask, active, S, b):
    return squash(b.softmax(1) * mask[:, None, :] @ e @ S.T)


def _batch(seed: int, lengths: tuple[int, ...], numbers: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Make random arguments; the padding holds vectors that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    e = torch.randn(len(lengths), 6, 4, generator=generator)
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    active = torch.arange(3) < torch.tensor(numbers)[:, None]
    S = torch.randn(4, 4, generator=generator)
    return e, mask, active, S, torch.randn(len(lengths), 3, 6, generator=generator)


ONE_ITERATION = Exercise(
    name="one_iteration",
    solution=one_iteration,
    examples=[
        _batch(0, (4,), (3,)),  # one user with padding
        _batch(1, (6, 4), (3, 2)),  # the second has an inactive interest
        _batch(2, (6, 3, 2), (3, 2, 1)),
    ],
    mistakes={
        "the softmax runs over the behaviors; it has to run over the interests.": (
            lambda e, mask, active, S, b: squash(
                b.softmax(2) * mask[:, None, :] * active[:, :, None] @ e @ S.T
            )
        ),
        "inactive interests are not excluded: they take weight and get a vector.": _inactive_kept,
        "inactive interests are set to zero only after the softmax: the weights of the others no "
        "longer sum to 1.": lambda e, mask, active, S, b: (
            _inactive_kept(e, mask, active, S, b) * active[:, :, None]
        ),
        "padding is counted as a behavior.": lambda e, mask, active, S, b: one_iteration(
            e, torch.ones_like(mask), active, S, b
        ),
        "S is applied transposed: S e_i for a row e_i is e_i @ S.T.": (
            lambda e, mask, active, S, b: one_iteration(e, mask, active, S.T, b)
        ),
        "the result is not squashed.": lambda e, mask, active, S, b: (
            b.masked_fill(~active[:, :, None], -torch.inf).softmax(1) * mask[:, None] @ e @ S.T
        ),
    },
)


def repeatability(
    a: Float[Tensor, "interests dim"], b: Float[Tensor, "interests dim"]
) -> Float[Tensor, ""]:
    """Return the mean cosine of each interest with its best match in the other set."""
    cosine = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    return (cosine.amax(0).mean() + cosine.amax(1).mean()) / 2


REPEATABILITY = Exercise(
    name="repeatability",
    solution=repeatability,
    examples=[
        (torch.eye(3), 2 * torch.eye(3)[[2, 0, 1]]),  # the same directions in another order
        (torch.eye(3), torch.eye(3)[[0, 0, 1]]),
        tuple(torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))),
    ],
    mistakes={
        "interest j is compared with interest j, but interests have no order.": (
            lambda a, b: F.cosine_similarity(a, b, dim=1).mean()
        ),
        "all pairs are averaged; each interest needs its best match only.": (
            lambda a, b: (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T).mean()
        ),
        "the best match is taken for one of the two sets only.": (
            lambda a, b: (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T).amax(1).mean()
        ),
    },
)
