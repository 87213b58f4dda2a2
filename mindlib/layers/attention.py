"""Label-aware attention (§3.4): in training, the label item attends to the user's interests."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def attention_weights(
    scores: Float[Tensor, "batch interests"],
    active: Bool[Tensor, "batch interests"],
    power: float,
) -> Float[Tensor, "batch interests"]:
    """Compute the weight of each interest for one label: softmax(p V_u' e_i).

    Rows sum to 1; inactive interests have weight 0. The paper prints the power (V_u' e_i)^p, which
    is NaN for a negative score and fractional p, and ignores the sign of the score for even p.

    Args:
        scores: V_u' e_i, the inner product of the label with each interest.
        active: whether the user has this interest; at least one per row.
        power: the factor p; 0 weights all interests equally, inf selects the best one.
    """
    if power == math.inf:
        best = scores.masked_fill(~active, -torch.inf).argmax(1)
        return torch.nn.functional.one_hot(best, scores.shape[1]).to(scores.dtype)
    return (scores * power).masked_fill(~active, -torch.inf).softmax(1)


def label_aware_attention(
    interests: Float[Tensor, "batch interests dim"],
    active: Bool[Tensor, "batch interests"],
    label: Float[Tensor, "batch dim"],
    power: float,
) -> Float[Tensor, "batch dim"]:
    """Compute the user vector for one label item, v_u = V_u softmax(p V_u' e_i).

    The label's embedding e_i is the query, and the interest vectors V_u are the keys and values.
    For the other arguments see `attention_weights`.
    """
    scores = (interests @ label[:, :, None]).squeeze(2)
    weights = attention_weights(scores, active, power)
    return (weights[:, None, :] @ interests).squeeze(1)
