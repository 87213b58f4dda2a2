"""Scores of the whole catalogue, its exact top N, and the merging of K lists (§3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.histories import Histories, check_items

# Scores in memory at once, for any number of users and items: 8 MiB of floats fit into the cache.
MAX_SCORES = 1 << 21
BLOCK_SIZE = 16  # items whose maximum is taken together in `top_n`


class Recommendations(NamedTuple):
    """The item ids and scores of each user's top N, best first; padding is id 0, score -inf."""

    items: Int[Tensor, "users n"]
    scores: Float[Tensor, "users n"]


@runtime_checkable
class Recommender(Protocol):
    """Interface of every model that is compared."""

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Return the n best items for each history, without the items of the history by default."""
        ...


@runtime_checkable
class InterestModel(Recommender, Protocol):
    """Interface of the models that represent a user by vectors: YouTube DNN, MIND, …"""

    def interests(
        self, histories: Histories
    ) -> tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]:
        """Return V_u of each history (Eq. 1), and which of its columns are active."""
        ...

    def item_vectors(self) -> Float[Tensor, "items dim"]:
        """Return e_i of the whole catalogue (Eq. 2); row 0 is padding."""
        ...


Scorer = Callable[[Histories], Float[Tensor, "users items"]]


def top_items(
    score: Scorer, histories: Histories, n: int, num_items: int, *, exclude_history: bool
) -> Recommendations:
    """Return the n items with the highest scores for each history, a chunk of users at a time.

    Args:
        score: returns a row of num_items + 1 scores for each of the histories that it is given.
        exclude_history: leave out every item of the history, however old.

    Raises:
        ValueError: n < 1 or n exceeds the catalogue, or an excluded item is not in it.
    """
    if not 1 <= n <= num_items:
        raise ValueError(f"n={n}: expected 1 to {num_items}, the number of items")
    users = max(1, MAX_SCORES // (num_items + 1))
    parts = []
    for part in histories.split(users):
        scores = score(part)
        scores[:, 0] = -torch.inf
        if exclude_history:
            rows, items = part.pairs()
            check_items(items, num_items)
            scores[rows, items] = -torch.inf
        parts.append(top_n(scores, n))
    return concatenate(parts)


def concatenate(parts: list[Recommendations]) -> Recommendations:
    """Join the recommendations of several chunks of users."""
    items, scores = zip(*parts, strict=True)
    return Recommendations(torch.cat(items), torch.cat(scores))


def top_n(scores: Float[Tensor, "users items"], n: int) -> Recommendations:
    """Return the n largest scores of each row exactly, several times faster than topk on wide rows.

    The n best items lie in at most n blocks, which are those with the n largest maxima. So one pass
    computes the maxima, and a top-k looks at the few items of these blocks.
    """
    users, width = scores.shape
    blocks = width // BLOCK_SIZE
    if blocks < 2 * n:
        return pad(*scores.topk(n))
    body = scores[:, : blocks * BLOCK_SIZE].unflatten(1, (blocks, BLOCK_SIZE))
    best_blocks = body.amax(2).topk(n, sorted=False).indices[:, :, None]
    candidates = body.gather(1, best_blocks.expand(-1, -1, BLOCK_SIZE)).flatten(1)
    offsets = torch.arange(BLOCK_SIZE, device=scores.device)
    items = (best_blocks * BLOCK_SIZE + offsets).flatten(1)
    rest = torch.arange(blocks * BLOCK_SIZE, width, device=scores.device)  # in no whole block
    candidates = torch.cat([candidates, scores[:, blocks * BLOCK_SIZE :]], dim=1)
    items = torch.cat([items, rest.expand(users, -1)], dim=1)
    best, order = candidates.topk(n)
    return pad(best, items.gather(1, order))


def pad(scores: Float[Tensor, "users n"], items: Int[Tensor, "users n"]) -> Recommendations:
    """Replace the items that have score -inf by padding."""
    return Recommendations(items.masked_fill(scores == -torch.inf, 0), scores)


def score_by_best_interest(
    interests: Float[Tensor, "users interests dim"],
    active: Bool[Tensor, "users interests"],
    items: Float[Tensor, "items dim"],
) -> Float[Tensor, "users items"]:
    """f_score(V_u, e_i) = max_k e_i' v_u^k over the user's active interests (Eq. 3)."""
    # A copy of the first interest, which is always active (K'_u >= 1), replaces every inactive one:
    # it cannot change the maximum. One product an interest limits the peak to two blocks of scores.
    interests = torch.where(active[:, :, None], interests, interests[:, :1])
    best = interests[:, 0] @ items.T
    for k in range(1, interests.shape[1]):
        torch.maximum(best, interests[:, k] @ items.T, out=best)
    return best


def merge(
    items: Int[Tensor, "users interests n"], scores: Float[Tensor, "users interests n"], n: int
) -> Recommendations:
    """Merge K lists into one top n in which each item occurs once, with its best score.

    Args:
        items: the list retrieved for each interest; 0 is padding.
        scores: inner products; those of inactive interests must be -inf.
    """
    flat_items, flat_scores = items.flatten(1), scores.flatten(1)
    # Best first; then a stable sort by item puts the best copy of each item first.
    flat_scores, order = flat_scores.sort(1, descending=True)
    flat_items = flat_items.gather(1, order)
    by_item, order = flat_items.sort(dim=1, stable=True)
    is_left_out = by_item == 0
    is_left_out[:, 1:] |= by_item[:, 1:] == by_item[:, :-1]
    merged = flat_scores.gather(1, order).masked_fill(is_left_out, -torch.inf)
    best, position = merged.topk(n)
    return pad(best, by_item.gather(1, position))
