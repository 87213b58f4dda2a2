"""The exercises of notebook 02: how many interests, and one round of routing with its masks."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.layers import routing
from mindlib.layers.routing import squash
from mindlib.lessons.common.staged import Exercise

# -- K'_u (Eq. 9) ----------------------------------------------------------------------------------


def number_of_interests(lengths: Int[Tensor, " users"], most: int) -> Int[Tensor, " users"]:
    """K'_u for each number of behaviours."""
    return routing.num_interests(lengths, most)


def _logarithm(lengths: Tensor, base: float) -> Tensor:
    return lengths.double().log() / math.log(base)


def _clamped(value: Tensor, low: int, high: int) -> Tensor:
    return value.to(torch.int64).clamp(min=low, max=high)


# A whisker beyond the whole number, against the rounding of the logarithm.
_WHISKER = 1e-9

NUMBER_OF_INTERESTS = Exercise(
    name="number_of_interests",
    solution=number_of_interests,
    examples=[
        (torch.tensor([16, 64]), 4),
        (torch.tensor([8, 5, 3, 33]), 6),
        (torch.tensor([1, 2, 3, 20, 1000]), 5),
    ],
    mistakes={
        "this rounds the logarithm up; the paper prints no rule, and here it is rounded down.": (
            lambda lengths, most: _clamped((_logarithm(lengths, 2.0) - _WHISKER).ceil(), 1, most)
        ),
        "this is the natural logarithm; Eq. 9 has base 2.": (
            lambda lengths, most: _clamped(
                (_logarithm(lengths, math.e) + _WHISKER).floor(), 1, most
            )
        ),
        "a user with one behaviour gets no interest; the maximum with 1 is missing.": (
            lambda lengths, most: _clamped((_logarithm(lengths, 2.0) + _WHISKER).floor(), 0, most)
        ),
        "long histories get more than K interests; the minimum with K is missing.": (
            lambda lengths, most: _clamped((_logarithm(lengths, 2.0) + _WHISKER).floor(), 1, 64)
        ),
    },
)

# -- One round (Algorithm 1) -----------------------------------------------------------------------


def one_round(
    behaviors: Float[Tensor, "batch length dim"],
    bilinear_map: Float[Tensor, "dim dim"],
    mask: Bool[Tensor, "batch length"],
    active: Bool[Tensor, "batch interests"],
    logits: Float[Tensor, "batch interests length"],
) -> Float[Tensor, "batch interests dim"]:
    """u_j = squash(sum over i of w_ij S e_i), with w from these logits."""
    absent = ~(active[:, :, None] & mask[:, None, :])
    return squash(
        routing.compute_coupling(logits, absent, "interests") @ behaviors @ bilinear_map.T
    )


def _after_softmax_over_behaviors(behaviors, bilinear_map, mask, active, logits):
    weights = logits.softmax(2) * mask[:, None, :] * active[:, :, None]
    return squash(weights @ behaviors @ bilinear_map.T)


def _over_behaviors(behaviors, bilinear_map, mask, active, logits):
    absent = ~(active[:, :, None] & mask[:, None, :])
    return squash(
        routing.compute_coupling(logits, absent, "behaviors") @ behaviors @ bilinear_map.T
    )


def _inactive_kept(behaviors, bilinear_map, mask, active, logits):
    weights = logits.softmax(1) * mask[:, None, :]
    return squash(weights @ behaviors @ bilinear_map.T)


def _inactive_cut_off(behaviors, bilinear_map, mask, active, logits):
    return _inactive_kept(behaviors, bilinear_map, mask, active, logits) * active[:, :, None]


def _padding_counted(behaviors, bilinear_map, mask, active, logits):
    weights = logits.masked_fill(~active[:, :, None], -torch.inf).softmax(1)
    return squash(weights @ behaviors @ bilinear_map.T)


def _map_missing(behaviors, bilinear_map, mask, active, logits):
    return one_round(behaviors, torch.eye(len(bilinear_map)), mask, active, logits)


def _map_twice(behaviors, bilinear_map, mask, active, logits):
    return one_round(behaviors, bilinear_map @ bilinear_map, mask, active, logits)


def _map_transposed(behaviors, bilinear_map, mask, active, logits):
    return one_round(behaviors, bilinear_map.T, mask, active, logits)


def _not_squashed(behaviors, bilinear_map, mask, active, logits):
    absent = ~(active[:, :, None] & mask[:, None, :])
    return routing.compute_coupling(logits, absent, "interests") @ behaviors @ bilinear_map.T


def _example(seed: int, lengths: tuple[int, ...], active: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Padding holds vectors that are not zero, so that forgetting it shows."""
    generator = torch.Generator().manual_seed(seed)
    behaviors = torch.randn(len(lengths), 6, 4, generator=generator)
    bilinear_map = torch.randn(4, 4, generator=generator)
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    present = torch.arange(3) < torch.tensor(active)[:, None]
    logits = torch.randn(len(lengths), 3, 6, generator=generator)
    return behaviors, bilinear_map, mask, present, logits


ONE_ROUND = Exercise(
    name="one_round",
    solution=one_round,
    examples=[
        _example(0, (4,), (3,)),  # one user with padding
        _example(1, (6, 4), (3, 2)),  # two, one of them with an interest she does not have
        _example(2, (6, 3, 2), (3, 2, 1)),
    ],
    mistakes={
        "the softmax runs over behaviours, and the mask comes after it: padding takes weight "
        "and gives it to nobody.": _after_softmax_over_behaviors,
        "the softmax runs over behaviours; Algorithm 1 divides each behaviour among the "
        "interests.": _over_behaviors,
        "inactive interests are not excluded: they take weight and get a vector.": _inactive_kept,
        "inactive interests are set to zero, but only after they took part in the softmax: the "
        "weights of the others no longer sum to 1.": _inactive_cut_off,
        "padding is counted as a behaviour.": _padding_counted,
        "S is not applied.": _map_missing,
        "S is applied twice.": _map_twice,
        "S is applied transposed: S e_i for a row e_i is e_i @ S.T.": _map_transposed,
        "the result is not squashed.": _not_squashed,
    },
)
