"""The exact top N of many users by their best interest (Eq. 3), from products of int8.

The bound of `mindlib.retrieval.int8` leaves a few more than n items of each user to score in
float32. No array has the float32 scores of all items.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.retrieval.int8 import Int8Items, has_fast_int8
from mindlib.retrieval.scores import (
    BLOCK_SIZE,
    MAX_SCORES,
    Recommendations,
    concatenate,
    pad,
    score_by_best_interest,
    top_items,
    top_n,
)

MIN_USERS = 64  # for fewer, rounding the items takes longer than it saves
USERS_AT_ONCE = 4096
MAX_SHARE = 1 / 8  # of the items; with more candidates, float32 is as fast
EXCLUDED = -(1 << 30)  # below every product

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
            none = torch.zeros((2, 0), dtype=torch.int64)
            excluded = several.select(part).pairs() if exclude_history else none
            parts.append(_top(index, vectors[part], excluded[0], excluded[1], n))
    return concatenate(parts)


def _top(
    index: Int8Items,
    vectors: Float[Tensor, "users interests dim"],
    rows: Int[Tensor, " pairs"],
    items: Int[Tensor, " pairs"],
    n: int,
) -> Recommendations:
    """Return the n best items of some users without the excluded pairs of a row and an item."""
    whole, _, bound = index.round_queries(vectors)
    products = index.best_products(whole)
    products[:, 0] = EXCLUDED
    products[rows, items] = EXCLUDED
    users, width = products.shape
    body = products[:, : width // BLOCK_SIZE * BLOCK_SIZE]
    maxima = body.unflatten(1, (-1, BLOCK_SIZE)).amax(2)
    # At least n items reach the n-th best maximum, so their scores reach it minus ε.
    lowest = maxima.topk(n, sorted=False).values.amin(1) - 2 * bound
    lowest = lowest.floor().clamp(min=EXCLUDED + 1).int()
    (found,) = (products.numpy() >= lowest[:, None].numpy()).ravel().nonzero()
    row, item = (torch.from_numpy(x) for x in np.divmod(found, width))
    counts = row.bincount(minlength=users)
    longest = max(n, int(counts.max()))
    if longest > width * MAX_SHARE:
        scores = score_by_best_interest(vectors, torch.ones(vectors.shape[:2]).bool(), index.items)
        return top_n(scores.masked_fill_(products == EXCLUDED, -torch.inf), n)
    candidates = torch.zeros((users, longest), dtype=torch.int64)  # 0 is padding
    candidates[row, torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]] = item
    rows_of = index.items.index_select(0, candidates.flatten()).unflatten(0, candidates.shape)
    inner = rows_of @ vectors.transpose(1, 2)
    best, order = inner.amax(2).masked_fill_(candidates == 0, -torch.inf).topk(n)
    return pad(best, candidates.gather(1, order))
