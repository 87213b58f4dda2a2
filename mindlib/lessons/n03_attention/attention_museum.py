"""The bug museum of label-aware attention (§3.4): six variants, and the rules that they break.

Each variant has the signature of `attention_weights`. Nothing here is used by a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.layers.attention import attention_weights

# Differences below this are rounding in float32.
TOLERANCE = 1e-5

Weights = Callable[
    [Float[Tensor, "batch interests"], Bool[Tensor, "batch interests"], float],
    Float[Tensor, "batch interests"],
]
Rule = Callable[
    [Weights, Float[Tensor, "batch interests"], Bool[Tensor, "batch interests"], float],
    Bool[Tensor, " batch"],
]


def argmax_of_pow(
    scores: Float[Tensor, "batch interests"], active: Bool[Tensor, "batch interests"], power: float
) -> Float[Tensor, "batch interests"]:
    """The interest with the largest score^p. An even p takes the worst for the best."""
    best = scores.pow(power).masked_fill(~active, -torch.inf).argmax(1)
    return torch.nn.functional.one_hot(best, scores.shape[1]).to(scores.dtype)


def literal_pow(
    scores: Float[Tensor, "batch interests"], active: Bool[Tensor, "batch interests"], power: float
) -> Float[Tensor, "batch interests"]:
    """softmax(score^p), as printed."""
    return attention_weights(scores, active, power, "literal")


def over_inactive(
    scores: Float[Tensor, "batch interests"], active: Bool[Tensor, "batch interests"], power: float
) -> Float[Tensor, "batch interests"]:
    """Attention over all K interests, those that the user does not have included."""
    return attention_weights(scores, torch.ones_like(active), power)


def masked_after(
    scores: Float[Tensor, "batch interests"], active: Bool[Tensor, "batch interests"], power: float
) -> Float[Tensor, "batch interests"]:
    """Attention over all K interests, and a 0 for the missing ones once it is shared out."""
    return attention_weights(scores, torch.ones_like(active), power) * active


def upside_down(
    scores: Float[Tensor, "batch interests"], active: Bool[Tensor, "batch interests"], power: float
) -> Float[Tensor, "batch interests"]:
    """softmax(score / p): p divides instead of multiplying, so that a large p makes the mean."""
    return (scores / power).masked_fill(~active, -torch.inf).softmax(1)


def sums_to_one(
    weights: Weights,
    scores: Float[Tensor, "batch interests"],
    active: Bool[Tensor, "batch interests"],
    power: float,
) -> Bool[Tensor, " batch"]:
    """The weights of a user's active interests sum to 1."""
    total = weights(scores, active, power).where(active, 0).sum(1)
    return (total - 1).abs() <= TOLERANCE


def follows_the_scores(
    weights: Weights,
    scores: Float[Tensor, "batch interests"],
    active: Bool[Tensor, "batch interests"],
    power: float,
) -> Bool[Tensor, " batch"]:
    """Of two active interests the one with the higher score never gets less weight."""
    w = weights(scores, active, power)
    higher = scores[:, :, None] > scores[:, None, :]
    less = w[:, :, None] < w[:, None, :] - TOLERANCE
    both = active[:, :, None] & active[:, None, :]
    return ~(higher & less & both).any(2).any(1)


def inactive_is_zero(
    weights: Weights,
    scores: Float[Tensor, "batch interests"],
    active: Bool[Tensor, "batch interests"],
    power: float,
) -> Bool[Tensor, " batch"]:
    """An interest that the user does not have has weight 0 (NaN is for `is_finite` to see)."""
    w = weights(scores, active, power).nan_to_num(0)
    return (w.masked_fill(active, 0) == 0).all(1)


def is_finite(
    weights: Weights,
    scores: Float[Tensor, "batch interests"],
    active: Bool[Tensor, "batch interests"],
    power: float,
) -> Bool[Tensor, " batch"]:
    """No weight is NaN or infinite."""
    return weights(scores, active, power).isfinite().all(1)


def has_both_limits(
    weights: Weights,
    scores: Float[Tensor, "batch interests"],
    active: Bool[Tensor, "batch interests"],
    power: float,
) -> Bool[Tensor, " batch"]:
    """p = 0 gives the mean of the active interests, p = inf their argmax. (`power` is not used.)"""
    mean = active / active.sum(1, keepdim=True)
    best = scores.masked_fill(~active, -torch.inf).argmax(1)
    hard = torch.nn.functional.one_hot(best, scores.shape[1]).to(scores.dtype)
    even = (weights(scores, active, 0.0) - mean).abs().amax(1) <= TOLERANCE
    return even & ((weights(scores, active, math.inf) - hard).abs().amax(1) <= TOLERANCE)


# By the name that a reader sees.
RULES: dict[str, Rule] = {
    "sums to 1": sums_to_one,
    "follows the scores": follows_the_scores,
    "inactive is 0": inactive_is_zero,
    "finite": is_finite,
    "mean and argmax": has_both_limits,
}


@dataclass(frozen=True)
class Exhibit:
    """One variant.

    Attributes:
        name: the mistake, in words.
        weights: the variant.
        power: the p at which it is shown.
        killer: the rule, by its name in `RULES`, that it must be seen to break.
    """

    name: str
    weights: Weights
    power: float
    killer: str


EXHIBITS = (
    Exhibit("argmax of pow", argmax_of_pow, 100.0, "follows the scores"),
    Exhibit("literal pow, even p", literal_pow, 2.0, "follows the scores"),
    Exhibit("literal pow, fractional p", literal_pow, 1.5, "finite"),
    Exhibit("no mask", over_inactive, 2.0, "inactive is 0"),
    Exhibit("mask after the softmax", masked_after, 2.0, "sums to 1"),
    Exhibit("score / p", upside_down, 2.0, "mean and argmax"),
)


def broken(
    weights: Weights,
    scores: Float[Tensor, "batch interests"],
    active: Bool[Tensor, "batch interests"],
    power: float,
) -> dict[str, float]:
    """For each rule the share of the rows on which it is broken."""
    return {
        name: 1 - float(rule(weights, scores, active, power).double().mean())
        for name, rule in RULES.items()
    }


def wrong_interest(
    weights: Weights,
    scores: Float[Tensor, "batch interests"],
    active: Bool[Tensor, "batch interests"],
    power: float,
) -> Float[Tensor, ""]:
    """The share of the rows whose heaviest interest is not the active one with the best score.

    A row with a NaN has no heaviest interest and counts as wrong.
    """
    w = weights(scores, active, power)
    best = scores.masked_fill(~active, -torch.inf).argmax(1)
    right = w.isfinite().all(1) & (w.argmax(1) == best)
    return (~right).double().mean()


def random_scores(
    rows: int, interests: int, *, seed: int
) -> tuple[Float[Tensor, "rows interests"], Bool[Tensor, "rows interests"]]:
    """Standard normal scores of users who have 1 to K interests, each number equally often."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, interests, generator=generator)
    count = torch.randint(1, interests + 1, (rows, 1), generator=generator)
    return scores, torch.arange(interests) < count
