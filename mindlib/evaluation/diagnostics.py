"""Diagnostics of a model: interest collapse and routing collapse."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def interest_cosine(
    vectors: Float[Tensor, "users interests dim"], active: Bool[Tensor, "users interests"]
) -> Float[Tensor, " users"]:
    """Compute the mean cosine between the active interests of each user.

    A value near 1 is interest collapse. It is NaN for a user with one interest.
    """
    unit = torch.nn.functional.normalize(vectors, dim=2)
    cosine = unit @ unit.transpose(1, 2)
    pairs = (active[:, :, None] & active[:, None, :]).triu(diagonal=1)
    return (cosine * pairs).sum((1, 2)) / pairs.sum((1, 2))


def routing_entropy(
    coupling: Float[Tensor, "users interests length"], active: Bool[Tensor, "users interests"]
) -> Float[Tensor, " users"]:
    """Compute the normalized entropy of each user's coupling, from 0 to 1.

    The coupling of an interest is scaled to a sum of 1 over the behaviors. Its entropy is divided
    by the logarithm of the number of behaviors, and averaged over the active interests. It is 1
    for equal weights. A value near 0 is routing collapse: each interest copies one behavior. It is
    NaN for fewer than two behaviors.
    """
    behaviors = (coupling > 0).any(1).sum(1)
    share = coupling / coupling.sum(2, keepdim=True).clamp(min=torch.finfo(coupling.dtype).tiny)
    entropy = torch.special.entr(share).sum(2) * active
    normalized = entropy.sum(1) / active.sum(1) / torch.log(behaviors.to(coupling.dtype))
    return torch.where(behaviors > 1, normalized, torch.nan)
