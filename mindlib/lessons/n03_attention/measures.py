"""What training sees of a model with several interests, and what serving gives (§3.4, Eq. 3)."""

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
    """HitRate@N of each case in two ways: 1 for a hit, 0 otherwise.

    Attributes:
        served: by the best interest of every item (Eq. 3).
        oracle: by the interest that ranks a target best. It knows the target, and its K lists have
            K N items: a bound, not a method.
    """

    served: Float[Tensor, " cases"]
    oracle: Float[Tensor, " cases"]


class Losses(NamedTuple):
    """The full softmax loss of each target, in nats, with hard attention.

    Attributes:
        label: all items are scored by the interest that the target selected (Eq. 10).
        hint: log Z, where Z is the sum over the catalog of the probability that each item gets
            if it is the target. A distribution has Z = 1; the target's choice raises it up to K.
        candidate: each item is scored by its own best interest.
    """

    label: Float[Tensor, " targets"]
    hint: Float[Tensor, " targets"]
    candidate: Float[Tensor, " targets"]


def count_hits(model: InterestModel, cases: Cases, n: int) -> Hits:
    """Compute both hit rates; the items of the history are left out of the lists."""
    served, oracle = torch.zeros(2, len(cases))
    for users, histories, scores, rows, targets in _parts(model, cases):
        seen_by, seen = histories.pairs()
        scores[seen_by, :, seen] = -torch.inf
        for found, lists in ((served, scores.amax(1, keepdim=True)), (oracle, scores)):
            own = lists[rows, :, targets]
            ahead = (lists[rows] > own[:, :, None]).sum(2)
            is_hit = ((ahead < n) & (own > -torch.inf)).any(1)
            found[users][rows[is_hit]] = 1
    return Hits(served, oracle)


def label_losses(model: InterestModel, cases: Cases) -> Losses:
    """Compute the losses of each target among all items of the catalog."""
    parts = []
    for _, _, scores, rows, targets in _parts(model, cases):
        best = scores.max(1)
        chosen = scores.log_softmax(2).gather(1, best.indices[:, None])[:, 0]
        hint = chosen.logsumexp(1)
        served = best.values.log_softmax(1)
        parts.append((-chosen[rows, targets], hint[rows], -served[rows, targets]))
    label, hint, candidate = (torch.cat(part) for part in zip(*parts, strict=True))
    return Losses(label, hint, candidate)


def _parts(
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
