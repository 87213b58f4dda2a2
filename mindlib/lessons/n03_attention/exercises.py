"""The exercises of notebook 03: attention weights, and the hard readout."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.layers.attention import attention_weights, label_aware_attention
from mindlib.lessons.common.staged import Exercise

BIG = torch.inf


def _scores(
    interests: Float[Tensor, "batch interests dim"], label: Float[Tensor, "batch dim"]
) -> Float[Tensor, "batch interests"]:
    return torch.einsum("bkd,bd->bk", interests, label)


def _weights(interests: Tensor, active: Tensor, label: Tensor, power: float) -> Tensor:
    return attention_weights(_scores(interests, label), active, power)


def _literal(interests: Tensor, active: Tensor, label: Tensor, power: float) -> Tensor:
    return attention_weights(_scores(interests, label), active, power, "literal")


def _over_inactive(interests: Tensor, active: Tensor, label: Tensor, power: float) -> Tensor:
    return attention_weights(_scores(interests, label), torch.ones_like(active), power)


def _mask_after(interests: Tensor, active: Tensor, label: Tensor, power: float) -> Tensor:
    return _over_inactive(interests, active, label, power) * active


def _root_of_dim(interests: Tensor, active: Tensor, label: Tensor, power: float) -> Tensor:
    scores = _scores(interests, label) / label.shape[1] ** 0.5
    return attention_weights(scores, active, power)


def _upside_down(interests: Tensor, active: Tensor, label: Tensor, power: float) -> Tensor:
    scores = _scores(interests, label) / power
    return scores.masked_fill(~active, -BIG).softmax(1)


def _infinite_product(interests: Tensor, active: Tensor, label: Tensor, power: float) -> Tensor:
    scores = _scores(interests, label) * power
    return scores.masked_fill(~active, -BIG).softmax(1)


def _mask_before(interests: Tensor, active: Tensor, label: Tensor, power: float) -> Tensor:
    scores = _scores(interests, label).masked_fill(~active, -BIG)
    if math.isinf(power):
        return attention_weights(scores, active, power)
    return (scores * power).softmax(1)


def _absolute(interests: Tensor, active: Tensor, label: Tensor) -> Tensor:
    best = _scores(interests, label).abs().masked_fill(~active, -BIG).argmax(1)
    return interests[torch.arange(len(best)), best]


def _any_interest(interests: Tensor, active: Tensor, label: Tensor) -> Tensor:
    best = _scores(interests, label).argmax(1)
    return interests[torch.arange(len(best)), best]


def _mask_with_zero(interests: Tensor, active: Tensor, label: Tensor) -> Tensor:
    best = _scores(interests, label).masked_fill(~active, 0).argmax(1)
    return interests[torch.arange(len(best)), best]


def _hard(interests: Tensor, active: Tensor, label: Tensor) -> Tensor:
    return label_aware_attention(interests, active, label, math.inf)


# A user with four places for interests, and a label. Scores: 1.0, -2.0, 0.6, 3.0.
_INTERESTS = torch.tensor([[[1.0, 0.0], [-2.0, 1.0], [0.6, -1.0], [3.0, 0.5]]])
_LABEL = torch.tensor([[1.0, 0.0]])
_ALL = torch.ones(1, 4, dtype=torch.bool)
_FIRST_TWO = torch.tensor([[True, True, False, False]])
_FIRST_THREE = torch.tensor([[True, True, True, False]])
# The same user with every score below 0: -3.0, -6.0, -3.4, -1.0.
_BELOW_ZERO = _INTERESTS - torch.tensor([4.0, 0.0])

ATTENTION_WEIGHTS = Exercise(
    name="weights",
    solution=_weights,
    examples=(
        (_INTERESTS, _ALL, _LABEL, 1.0),
        (_INTERESTS, _ALL, _LABEL, 2.0),
        (_INTERESTS, _ALL, _LABEL, 0.5),
        (_INTERESTS, _FIRST_THREE, _LABEL, 2.0),
        (_INTERESTS, _FIRST_THREE, _LABEL, 0.0),
        (_INTERESTS, _FIRST_THREE, _LABEL, math.inf),
    ),
    mistakes={
        "these are the weights of scores divided by the square root of d. Scaled dot-product "
        "attention does that, the formula of §3.4 does not.": _root_of_dim,
        "this is softmax(score ** p). An even p makes the worst interest the heaviest, and a "
        "fractional p makes NaN of a negative score: multiply by p.": _literal,
        "0 * -inf is NaN. Multiply by p first, fill with -inf after.": _mask_before,
        "p divides the scores here. p = inf has to end at the argmax, not at the mean.": (
            _upside_down
        ),
        "interests that the user does not have take part: their weight must be 0. Fill their "
        "scores with -inf before the softmax.": _over_inactive,
        "the mask comes after the softmax, so the weights of the active interests do not sum "
        "to 1. Fill the scores with -inf before it.": _mask_after,
        "inf * score is infinite for every interest, and the softmax of infinities is NaN. p = inf "
        "needs a branch of its own: a one at the argmax.": _infinite_product,
    },
)

HARD_READOUT = Exercise(
    name="hard_readout",
    solution=_hard,
    examples=(
        (_INTERESTS, _ALL, _LABEL),
        (_INTERESTS, _FIRST_THREE, _LABEL),
        (_BELOW_ZERO, _FIRST_TWO, _LABEL),
        (_INTERESTS.flip(1), _FIRST_TWO.flip(1), _LABEL),
    ),
    mistakes={
        "this is the interest with the largest |score|. The worst one is far from the label, not "
        "near: leave the sign in.": _absolute,
        "this is the best of all K vectors. The user does not have all of them: fill the scores "
        "of inactive ones with -inf.": _any_interest,
        "a score of 0 is not a low score: an inactive interest filled with 0 beats every active "
        "one below 0. Fill with -inf.": _mask_with_zero,
    },
)
