"""The exercises of notebook 00: the score of Eq. 3, and the pooling of §3.2."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.lessons.common.staged import Exercise


def _score(
    interests: Float[Tensor, "users interests dim"],
    active: Bool[Tensor, "users interests"],
    items: Float[Tensor, "items dim"],
) -> Float[Tensor, "users items"]:
    scores = interests @ items.T
    return scores.masked_fill(~active[:, :, None], -torch.inf).amax(1)


def _mean(interests: Tensor, active: Tensor, items: Tensor) -> Tensor:
    scores = (interests @ items.T) * active[:, :, None]
    return scores.sum(1) / active.sum(1, keepdim=True)


def _sum(interests: Tensor, active: Tensor, items: Tensor) -> Tensor:
    return ((interests @ items.T) * active[:, :, None]).sum(1)


def _no_mask(interests: Tensor, active: Tensor, items: Tensor) -> Tensor:
    return (interests @ items.T).amax(1)


def _zeros(interests: Tensor, active: Tensor, items: Tensor) -> Tensor:
    return ((interests @ items.T) * active[:, :, None]).amax(1)


_ITEMS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [-0.5, -1.0]])
_INTERESTS = torch.tensor([[[2.0, 0.5], [0.5, 1.5]], [[1.0, 0.0], [3.0, 3.0]]])

BEST_INTEREST = Exercise(
    name="score",
    solution=_score,
    examples=[
        (_INTERESTS[:1], torch.tensor([[True, True]]), _ITEMS),
        (_INTERESTS, torch.tensor([[True, True], [True, False]]), _ITEMS),
    ],
    mistakes={
        "they are the mean over the interests. An item that one interest loves and the others "
        "ignore must keep its full score: take the best.": _mean,
        "they are the sum over the interests. Then an item that all like a little beats one that "
        "is loved by one: take the best.": _sum,
        "an interest that is not active has had its say. Use the mask.": _no_mask,
        "an inactive interest counts as a score of 0, which beats every negative score. Make it "
        "-inf, so that it can never be the best.": _zeros,
    },
)


def _pool(
    table: Float[Tensor, "rows dim"], codes: Int[Tensor, "items fields"]
) -> Float[Tensor, "items dim"]:
    known = (codes > 0)[:, :, None]
    return (table[codes] * known).sum(1) / known.sum(1).clamp(min=1)


def _zeros_averaged_in(table: Tensor, codes: Tensor) -> Tensor:
    return (table[codes] * (codes > 0)[:, :, None]).mean(1)


def _summed(table: Tensor, codes: Tensor) -> Tensor:
    return (table[codes] * (codes > 0)[:, :, None]).sum(1)


def _row_zero(table: Tensor, codes: Tensor) -> Tensor:
    return table[codes].mean(1)


# Row 0 is not zeros here: whoever relies on that is told so.
_TABLE = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [-1.0, 4.0]])

POOLING = Exercise(
    name="pool",
    solution=_pool,
    examples=[
        (_TABLE, torch.tensor([[1, 2, 4], [3, 2, 4]])),
        (_TABLE, torch.tensor([[1, 2, 4], [3, 0, 4], [3, 0, 0]])),
        (_TABLE, torch.tensor([[1, 2, 0], [0, 0, 0]])),
    ],
    mistakes={
        "row 0 of the table is averaged in. Code 0 is no brand, it is 'unknown': leave it out of "
        "the mean.": _row_zero,
        "an unknown feature is averaged in as zeros. Divide by the number of features that are "
        "known, or else the item shrinks with every gap in its record.": _zeros_averaged_in,
        "they are the sum. Then an item with a full record is longer than one with gaps, and wins "
        "inner products by its length: divide by the number of known features.": _summed,
    },
)
