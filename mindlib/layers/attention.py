"""Label-aware attention (§3.4): while training, the label chooses among the user's interests."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PowerForm = Literal["scaled", "literal"]


def check_power(power: float) -> None:
    """Refuse a p that is negative or NaN (p = inf is the hard argmax)."""
    if not power >= 0:
        raise ValueError(f"power={power}: expected p >= 0; p = 0 is the mean, p = inf the argmax")


def attention_weights(
    scores: Float[Tensor, "batch interests"],
    active: Bool[Tensor, "batch interests"],
    power: float,
    form: PowerForm = "scaled",
) -> Float[Tensor, "batch interests"]:
    """The weight of each interest for one label; rows sum to 1, inactive interests get 0.

    Args:
        scores: V_u' e_i, the label's inner product with each interest.
        active: which interests the user has, at least one.
        power: p. 0 gives the mean, inf the argmax.
        form: "scaled" is softmax(p * score), monotone for scores of any sign. "literal" is the
            paper's softmax(score^p), which is NaN for a fractional p and a negative score, and
            blind to the sign for an even p; it is here to be looked at.
    """
    if power == math.inf:
        best = scores.masked_fill(~active, -torch.inf).argmax(1)
        return torch.nn.functional.one_hot(best, scores.shape[1]).to(scores.dtype)
    sharpened = scores * power if form == "scaled" else scores.pow(power)
    return sharpened.masked_fill(~active, -torch.inf).softmax(1)


def label_aware_attention(
    interests: Float[Tensor, "batch interests dim"],
    active: Bool[Tensor, "batch interests"],
    label: Float[Tensor, "batch dim"],
    power: float,
    form: PowerForm = "scaled",
) -> Float[Tensor, "batch dim"]:
    """v_u = V_u softmax(pow(V_u' e_i, p)): the user as seen from the label item.

    Args:
        interests: V_u, the keys and the values.
        active: which interests the user has.
        label: e_i, the query.
        power: p.
        form: see `attention_weights`.
    """
    scores = (interests @ label[:, :, None]).squeeze(2)
    weights = attention_weights(scores, active, power, form)
    return (weights[:, None, :] @ interests).squeeze(1)
