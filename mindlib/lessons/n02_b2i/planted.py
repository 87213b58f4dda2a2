"""Planted users, for whom it is known which behaviors belong to one interest (§3.3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mindlib.evaluation import (
    Estimate,
    interest_cosine,
    mean_estimate,
    routing_entropy,
    share_estimate,
)
from mindlib.layers.routing import B2IRouting, RoutingConfig


def planted_users(
    users: int, *, norm: float, generator: torch.Generator
) -> tuple[Float[Tensor, "users length dim"], Int[Tensor, " length"]]:
    """Return the behaviors of users, cluster by cluster, and the cluster of each behavior.

    Each user has three clusters of seven behaviors around random directions in 16 dimensions. The
    distance from the direction is about 0.5, before all embeddings are scaled to one norm.
    """
    centers = torch.randn(users, 3, 1, 16, generator=generator)
    deviations = torch.randn(users, 3, 7, 16, generator=generator) * 16**-0.5
    directions = F.normalize(centers, dim=3) + 0.5 * deviations
    behaviors = norm * F.normalize(directions, dim=3).flatten(1, 2)
    return behaviors, torch.arange(3).repeat_interleave(7)


class Diagnosis(NamedTuple):
    """The two measures of collapse over planted users.

    Attributes:
        cosine: mean cosine between the interests of a user; near 1 is interest collapse.
        entropy: normalized entropy of an interest's weights; near 0 is routing collapse.
        recovered: share of users for whom all clusters are recovered, see `recovered_clusters`.
        coupling: the coupling coefficients of each user.
    """

    cosine: Estimate
    entropy: Estimate
    recovered: Estimate
    coupling: Float[Tensor, "users interests length"]


@torch.no_grad()
def diagnose(config: RoutingConfig, *, norm: float, users: int, seed: int = 0) -> Diagnosis:
    """Route planted users with S = I and Gaussian logits, and measure both kinds of collapse."""
    generator = torch.Generator().manual_seed(seed)
    behaviors, clusters = planted_users(users, norm=norm, generator=generator)
    shape = (users, config.max_interests, len(clusters))
    logits = config.sigma * torch.randn(shape, generator=generator)
    routing = B2IRouting(behaviors.shape[2], config, generator=generator)
    routing.bilinear_map.copy_(torch.eye(len(routing.bilinear_map)))
    mask = torch.ones(users, len(clusters), dtype=torch.bool)
    capsules = routing(behaviors, mask, logits)
    return Diagnosis(
        mean_estimate(interest_cosine(capsules.vectors, capsules.active)),
        mean_estimate(routing_entropy(capsules.coupling, capsules.active)),
        share_estimate(recovered_clusters(capsules.coupling, clusters).all(1)),
        capsules.coupling,
    )


def recovered_clusters(
    coupling: Float[Tensor, "users interests length"], clusters: Int[Tensor, " length"]
) -> Bool[Tensor, "users clusters"]:
    """Return which clusters have an interest with more than half of its weight on them."""
    weights = coupling @ F.one_hot(clusters).to(coupling.dtype)
    total = weights.sum(2, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return (weights / total > 0.5).any(1)
