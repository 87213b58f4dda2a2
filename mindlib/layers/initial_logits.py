"""Initial routing logits b_ij (§3.3.2): farthest-point initialization and Gaussian noise."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

# Behaviors are duplicates if 1 minus their cosine is at most this; far above float32 rounding.
DUPLICATE_TOLERANCE = 1e-5
MIN_NORM = 1e-12  # as in `F.normalize`


def farthest_point_logits(
    votes: Float[Tensor, "batch length dim"],
    mask: Bool[Tensor, "batch length"],
    max_interests: int,
    *,
    inverse_temperature: float,
) -> Float[Tensor, "batch interests length"]:
    """Compute deterministic initial logits, inverse_temperature * cos(seed_j, S e_i).

    The seeds are behaviors far from each other, as in farthest-point (k-means++-style)
    initialization. The first seed is the behavior that is least similar to the sum of all
    behaviors; each further seed is the one least similar to its nearest seed. If a user has fewer
    distinct behaviors than interests, the remaining seeds are the mean direction of the behaviors.
    (If a behavior were repeated instead, rounding errors would decide which one.) The paper leaves
    better initializations to future work.

    Args:
        votes: S e_i, the mapped behaviors.
        mask: True where there is a behavior.
        max_interests: K, the number of interests.
        inverse_temperature: factor of the cosine, that is the logit at a cosine of 1.
    """
    scale = inverse_norms(votes)  # S e_i * scale has norm 1
    total = (scale * mask)[:, None, :] @ votes
    with torch.no_grad():  # the choice of the seeds is discrete
        cosine = votes @ votes.transpose(1, 2) * scale[:, :, None] * scale[:, None, :]
        to_all = (total @ votes.transpose(1, 2)).squeeze(1) * scale
        to_all = to_all.masked_fill(~mask, torch.inf)
        to_seeds = torch.full_like(to_all, -torch.inf).masked_fill(~mask, torch.inf)
        seeds, is_distinct = [_first_minimum(to_all)], [mask.any(1)]
        for _ in range(max_interests - 1):
            last = seeds[-1][:, None, None].expand(-1, 1, cosine.shape[2])
            to_seeds = torch.maximum(to_seeds, cosine.gather(1, last).squeeze(1))
            seeds.append(_first_minimum(to_seeds))
            is_distinct.append(to_seeds.amin(1) < 1 - DUPLICATE_TOLERANCE)
        index = torch.stack(seeds, dim=1)[:, :, None].expand(-1, -1, votes.shape[2])
        distinct = torch.stack(is_distinct, dim=1)[:, :, None]
    seed_votes = torch.where(distinct, votes.gather(1, index), total)
    directions = inverse_temperature * F.normalize(seed_votes, dim=2)
    return directions @ votes.transpose(1, 2) * scale[:, None, :]


def inverse_norms(vectors: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length"]:
    """Return 1 / |x| for each vector; finite for a zero vector."""
    return 1 / vectors.norm(dim=2).clamp(min=MIN_NORM)


def _first_minimum(values: Float[Tensor, "batch length"]) -> Int[Tensor, " batch"]:
    """Return the first index whose value is minimal up to rounding."""
    return (values <= values.amin(1, keepdim=True) + DUPLICATE_TOLERANCE).int().argmax(1)


def gaussian_logits(
    items: Int[Tensor, "batch length"], max_interests: int, *, sigma: float, seed: int
) -> Float[Tensor, "batch interests length"]:
    """Compute reproducible N(0, sigma²) initial logits by hashing (seed, item, interest).

    In the paper, b_ij is sampled in every call, so that a user's interests change from request to
    request. Hashed logits do not. They depend on the item instead of the position, so they are
    independent of the batch, the window and the order of the behaviors.
    """
    keys = (
        items[:, None, :] * max_interests
        + torch.arange(max_interests, device=items.device)[:, None]
    )
    first = _to_uniform(_mix(keys + _mix(torch.tensor(2 * seed, device=items.device))))
    second = _to_uniform(_mix(keys + _mix(torch.tensor(2 * seed + 1, device=items.device))))
    # The Box-Muller transform of two uniform numbers.
    return sigma * torch.sqrt(-2 * torch.log(first)) * torch.cos(2 * math.pi * second)


def _mix(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Hash 64-bit integers with the finalizer of SplitMix64."""
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        x = (x ^ _shift_right(x, shift)) * factor
    return x ^ _shift_right(x, 31)


def _shift_right(x: Int[Tensor, "*shape"], bits: int) -> Int[Tensor, "*shape"]:
    """Shift integers right without sign extension; PyTorch's >> on int64 copies the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _to_uniform(x: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Map the top 24 bits of each 64-bit integer to a number in (0, 1)."""
    return (_shift_right(x, 40).to(torch.float32) + 0.5) / (1 << 24)
