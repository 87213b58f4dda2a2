"""The exact top N of many users by their best interest (Eq. 3), from products of int8.

The bound of `mindlib.retrieval.int8` leaves a few more than n items of each user to score in
float32. No array has the float32 scores of all items.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.retrieval.int8 import Int8Items, has_fast_int8
from mindlib.retrieval.scores import (
    BLOCK_SIZE,
    MAX_SCORES,
    Recommendations,
    concatenate,
    score_by_best_interest,
    top_items,
)

MIN_USERS = 64  # for fewer, rounding the items takes longer than it saves
USERS_AT_ONCE = 4096

Interests = Callable[
    [Histories], tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]
]


def top_by_best_interest(
    interests: Interests,
    items: Float[Tensor, "items dim"],
    histories: Histories,
    n: int,
    *,
    exclude_history: bool,
) -> Recommendations:
    """Return the n items with the best score of any interest for each history, by exact search.

    Args:
        interests: returns V_u and the active interests, the first of which is always active.
        items: e_i of the whole catalogue; row 0 is padding.

    Raises:
        ValueError: n < 1 or n exceeds the catalogue.
    """
    is_int8 = items.device.type == "cpu" and len(histories) >= MIN_USERS and has_fast_int8()
    if not is_int8 or not 1 <= n <= len(items) // (2 * BLOCK_SIZE):

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return score_by_best_interest(*interests(part), items)

        return top_items(score, histories, n, len(items) - 1, exclude_history=exclude_history)
    index = Int8Items(items.detach())
    parts = []
    for start in range(0, len(histories), USERS_AT_ONCE):
        several = histories.select(slice(start, start + USERS_AT_ONCE))
        vectors, active = interests(several)
        vectors = torch.where(active[:, :, None], vectors, vectors[:, :1]).detach()
        users = max(1, MAX_SCORES // len(items))
        for first in range(0, len(several), users):
            part = slice(first, first + users)
            row = torch.arange(len(vectors[part]))
            excluded = torch.stack([row, torch.zeros_like(row)])  # padding
            if exclude_history:
                history = torch.stack(several.select(part).pairs())
                excluded = torch.cat([excluded, history], dim=1)
            parts.append(index.top(vectors[part], n, excluded))
    return concatenate(parts)
