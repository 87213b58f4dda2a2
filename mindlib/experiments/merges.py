"""Ways to merge the lists of several interests, and what each of them hits (§3.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data import Cases, Histories
from mindlib.retrieval import InterestModel

USERS_AT_ONCE = 256


class Hits(NamedTuple):
    """HitRate@N of each case in several ways: 1 for a hit, 0 otherwise.

    Attributes:
        served: by the best interest of every item (Eq. 3).
        in_turn: the interests contribute their best items in turn, then their second best, and so
            on; an item that is already in the list is skipped.
        standardized: as served, with the scores of each interest standardized over the catalog
            without the history.
        oracle: by the interest that ranks a target best. It knows the target, and its K lists have
            K N items: a bound, not a method.
    """

    served: Float[Tensor, " cases"]
    in_turn: Float[Tensor, " cases"]
    standardized: Float[Tensor, " cases"]
    oracle: Float[Tensor, " cases"]


def count_hits(model: InterestModel, cases: Cases, n: int) -> Hits:
    """Compute the hit rates; the items of the history are left out of the lists."""
    hits = Hits(*torch.zeros(len(Hits._fields), len(cases)))
    for users, histories, scores, rows, targets in scored_cases(model, cases):
        seen_by, seen = histories.pairs()
        scores[seen_by, :, seen] = -torch.inf
        ways = scores, _turns(scores, n), _standardized(scores)
        merged = (way.amax(1, keepdim=True) for way in ways)
        for found, lists in zip(hits, (*merged, scores), strict=True):
            own = lists[rows, :, targets]
            ahead = (lists[rows] > own[:, :, None]).sum(2)
            is_hit = ((ahead < n) & (own > -torch.inf)).any(1)
            found[users][rows[is_hit]] = 1
    return hits


def _turns(
    scores: Float[Tensor, "users interests items"], n: int
) -> Float[Tensor, "users interests items"]:
    """Replace each score by minus the turn in which the interest would contribute the item.

    Only each interest's n best items have a turn; the others have -inf, as missing items have.
    """
    interests = scores.shape[1]
    best = scores.topk(min(n, scores.shape[2]), dim=2)
    turns = torch.arange(best.indices.shape[2]) * interests + torch.arange(interests)[:, None]
    turns = (-turns.float()).expand_as(best.values)
    turns = turns.masked_fill(best.values == -torch.inf, -torch.inf)
    return torch.full_like(scores, -torch.inf).scatter(2, best.indices, turns)


def _standardized(
    scores: Float[Tensor, "users interests items"],
) -> Float[Tensor, "users interests items"]:
    """Subtract each interest's mean score and divide by the standard deviation."""
    known = scores.masked_fill(scores == -torch.inf, torch.nan)
    known = known - known.nanmean(2, keepdim=True)
    known = known / known.square().nanmean(2, keepdim=True).sqrt()
    return known.nan_to_num(-torch.inf)


def scored_cases(
    model: InterestModel, cases: Cases
) -> Iterator[tuple[slice, Histories, Tensor, Tensor, Tensor]]:
    """Yield some users at a time: who, their scores, and the row and the item of each target.

    The scores are (users, interests, items); -inf for padding and interests that a user lacks.
    """
    items = model.item_vectors()
    vectors, active = model.interests(cases.histories)
    for start in range(0, len(cases), USERS_AT_ONCE):
        users = slice(start, min(start + USERS_AT_ONCE, len(cases)))
        scores = (vectors[users] @ items.T).masked_fill_(~active[users][:, :, None], -torch.inf)
        scores[:, :, 0] = -torch.inf  # padding
        some = cases[users]
        yield users, some.histories, scores, some.rows, some.targets
