"""Worlds of many clusters, in which a user likes some (§3.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

CLUSTERS, PER_CLUSTER = 60, 8


def crowded_worlds(
    d: int, count: int, *, scatter: float = 0.5, seed: int = 0
) -> Float[Tensor, "worlds clusters items d"]:
    """Sample worlds of 60 clusters of eight unit vectors around centers in random directions.

    Args:
        scatter: the norm of an item's deviation from its center, which has norm 1, before the item
            is scaled to norm 1.
    """
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(count, CLUSTERS, 1, d, generator=generator)
    noise = torch.randn(count, CLUSTERS, PER_CLUSTER, d, generator=generator)
    return F.normalize(F.normalize(centers, dim=-1) + scatter * d**-0.5 * noise, dim=-1)


def covered(
    vectors: Float[Tensor, "worlds interests d"],
    items: Float[Tensor, "worlds clusters items d"],
    liked: int,
) -> Float[Tensor, " worlds"]:
    """Count the covered clusters among the first `liked` ones, which the user likes.

    The list has as many items as the liked clusters contain. A cluster is covered if at least half
    of its items are in the list.
    """
    scores = (vectors @ items.flatten(1, 2).mT).amax(1)  # Eq. 3
    top = scores.topk(liked * PER_CLUSTER).indices
    in_list = torch.zeros_like(scores).scatter(1, top, 1).unflatten(1, (CLUSTERS, PER_CLUSTER))
    return (in_list[:, :liked].mean(2) >= 0.5).float().sum(1)


def chance(liked: int) -> float:
    """Return the expected number of liked clusters that a random list covers."""
    total, length = CLUSTERS * PER_CLUSTER, liked * PER_CLUSTER
    return liked * float(stats.hypergeom.sf(PER_CLUSTER / 2 - 1, total, PER_CLUSTER, length))


def fit_vector(
    items: Float[Tensor, "worlds clusters items d"], liked: int, steps: int = 100
) -> Float[Tensor, "worlds 1 d"]:
    """Fit one vector for each world to the items that belong in its list, by a softmax loss.

    Gradient descent starts from the mean. A recommender cannot do this, as it needs the answer.
    """
    flat, length = items.flatten(1, 2), liked * PER_CLUSTER
    vectors = (5 * F.normalize(flat[:, :length].mean(1), dim=1)).requires_grad_()
    optimizer = torch.optim.Adam([vectors], lr=0.3)
    for _ in range(steps):
        scores = (flat @ vectors[:, :, None]).squeeze(2)
        optimizer.zero_grad()
        (scores.logsumexp(1) - scores[:, :length].mean(1)).sum().backward()
        optimizer.step()
    return vectors.detach()[:, None]
