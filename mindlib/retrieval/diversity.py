"""ComiRec's controllable aggregation: a list that gives up some relevance for variety."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from mindlib.retrieval.scores import Recommendations


def diversify(
    found: Recommendations, categories: Int[Tensor, " items"], n: int, *, weight: float
) -> Recommendations:
    """Choose n of the items found, greedily by score plus variety.

    The next item is the one with the largest score + weight * (how many of those chosen have
    another category): one step of maximising sum_i f(u, i) + weight * sum_{i,j} [category_i !=
    category_j] over the chosen. All users take their steps together.

    Args:
        found: at least n items for each user, best first.
        categories: the category of each item; entry 0 is padding.
        n: the length of the list.
        weight: lambda; 0 keeps the best n. It has the unit of the scores.

    Returns:
        The chosen items in the order of choice, with their own scores.

    Raises:
        ValueError: n is below 1 or above what was found, or the weight is negative.
    """
    items, scores = found
    if not 1 <= n <= items.shape[1]:
        raise ValueError(f"n={n}: expected 1 to {items.shape[1]}, the number of items found")
    if not weight >= 0:
        raise ValueError(f"weight={weight}: expected 0 (the best n) or more")
    kinds = categories.to(items.device)[items]
    # What was not found is worth the least there is, but more than what has been chosen.
    worth, chosen = scores.clamp(min=torch.finfo(scores.dtype).min), []
    for _ in range(n):
        best = worth.argmax(1, keepdim=True)
        chosen.append(best)
        worth = worth + weight * (kinds != kinds.gather(1, best))
        worth.scatter_(1, best, -torch.inf)
    place = torch.cat(chosen, dim=1)
    return Recommendations(items.gather(1, place), scores.gather(1, place))
