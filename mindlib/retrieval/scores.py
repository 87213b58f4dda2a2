"""Scores of the whole catalogue, its exact top N, and the merging of K lists (§3.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.histories import Histories

# Scores held at once, whatever the number of users and items: 8 MiB of floats stay in the cache.
SCORES_AT_ONCE = 1 << 21
# Items of one block in the search for the best: see `top_n`.
BLOCK = 16


class Recommendations(NamedTuple):
    """The top N of each user, best first; where fewer exist, id 0 with score -inf.

    Attributes:
        items: item ids.
        scores: their scores.
    """

    items: Int[Tensor, "users n"]
    scores: Float[Tensor, "users n"]


@runtime_checkable
class Recommender(Protocol):
    """Everything that is compared."""

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """The n best items for each past, without the items of the past unless asked for."""
        ...


@runtime_checkable
class InterestModel(Recommender, Protocol):
    """The vector models among them: YouTube DNN, MIND, …"""

    def interests(
        self, histories: Histories
    ) -> tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]:
        """V_u for each past (Eq. 1), and which of its columns the user has."""
        ...

    def item_vectors(self) -> Float[Tensor, "items dim"]:
        """e_i for the whole catalogue (Eq. 2); row 0 is padding."""
        ...


Scorer = Callable[[Histories], Float[Tensor, "users items"]]


def top_items(
    score: Scorer, histories: Histories, n: int, num_items: int, *, exclude_history: bool
) -> Recommendations:
    """The n best-scored items of each past, a chunk of users at a time.

    Args:
        score: gives a part of the pasts a row of scores each, of width num_items + 1.
        exclude_history: leave out every item of the past, however long ago.

    Raises:
        ValueError: n < 1 or n exceeds the catalogue.
    """
    if not 1 <= n <= num_items:
        raise ValueError(f"n={n}: expected 1 to {num_items}, the number of items")
    # Never a users x items matrix at once.
    users = max(1, SCORES_AT_ONCE // (num_items + 1))
    parts = []
    for start in range(0, len(histories), users):
        part = histories.select(slice(start, start + users))
        scores = score(part)
        scores[:, 0] = -torch.inf
        if exclude_history:
            rows, items = part.pairs()
            scores[rows, items] = -torch.inf
        parts.append(top_n(scores, n))
    return Recommendations(
        torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
    )


def top_n(scores: Float[Tensor, "users items"], n: int) -> Recommendations:
    """The n largest scores of each row, exactly, for wide rows several times faster than topk.

    The n best items lie in at most n blocks, and those are the n blocks with the largest maxima:
    one pass for the maxima, and a top-k over the few items of the winning blocks.
    """
    users, width = scores.shape
    blocks = width // BLOCK
    if blocks < 2 * n:
        return _finish(*scores.topk(n))
    body = scores[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK))
    winners = body.amax(2).topk(n, sorted=False).indices
    candidates = body.gather(1, winners[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    places = (winners[:, :, None] * BLOCK + torch.arange(BLOCK, device=scores.device)).flatten(1)
    if width > blocks * BLOCK:
        rest = torch.arange(blocks * BLOCK, width, device=scores.device)
        candidates = torch.cat([candidates, scores[:, blocks * BLOCK :]], dim=1)
        places = torch.cat([places, rest.expand(users, -1)], dim=1)
    best, order = candidates.topk(n)
    return _finish(best, places.gather(1, order))


def _finish(scores: Float[Tensor, "users n"], items: Int[Tensor, "users n"]) -> Recommendations:
    return Recommendations(items.masked_fill(scores == -torch.inf, 0), scores)


def score_by_best_interest(
    interests: Float[Tensor, "users interests dim"],
    active: Bool[Tensor, "users interests"],
    items: Float[Tensor, "items dim"],
) -> Float[Tensor, "users items"]:
    """f_score(V_u, e_i) = max_k e_i' v_u^k over the user's active interests (Eq. 3)."""
    # An inactive interest stands in as a copy of the first, which everybody has (K'_u >= 1): it
    # cannot change the maximum. One product an interest keeps the peak at two blocks of scores.
    interests = torch.where(active[:, :, None], interests, interests[:, :1])
    best = interests[:, 0] @ items.T
    for k in range(1, interests.shape[1]):
        torch.maximum(best, interests[:, k] @ items.T, out=best)
    return best


def merge(
    items: Int[Tensor, "users interests n"],
    scores: Float[Tensor, "users interests n"],
    n: int,
) -> Recommendations:
    """Merge K result lists into one top n: an item's score is its best, and no item comes twice.

    Args:
        items: what the search for each interest found; 0 where it found nothing.
        scores: inner products; those of inactive interests must be -inf.
    """
    flat_items, flat_scores = items.flatten(1), scores.flatten(1)
    # Best first; then a stable sort by item puts the best copy of each item first.
    flat_scores, order = flat_scores.sort(1, descending=True)
    flat_items = flat_items.gather(1, order)
    by_item, order = flat_items.sort(dim=1, stable=True)
    repeated = torch.zeros_like(by_item, dtype=torch.bool)
    repeated[:, 1:] = by_item[:, 1:] == by_item[:, :-1]
    repeated |= by_item == 0
    merged = flat_scores.gather(1, order).masked_fill(repeated, -torch.inf)
    best, place = merged.topk(n)
    return _finish(best, by_item.gather(1, place))
