"""What routing must have, as questions that need no right answer to compare with.

Each takes a routing function and asks it twice, or asks for a sum: `violations` names those that
it fails.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.layers.routing import Capsules

PADDING = "padding changes nothing"
BATCH = "batch equals single"
STATE = "no state between calls"
DIFFER = "interests differ"
SUM = "weights sum to one"
ORDER = "order changes nothing"


@runtime_checkable
class RoutingFunction(Protocol):
    """What is checked: interests from behaviours and the items that they are."""

    def __call__(
        self,
        items: Int[Tensor, "batch length"],
        behaviors: Float[Tensor, "batch length dim"],
        mask: Bool[Tensor, "batch length"],
    ) -> Capsules: ...


@dataclass(frozen=True)
class _Batch:
    """Random behaviours of users of different lengths."""

    items: Tensor
    behaviors: Tensor
    mask: Tensor

    def rows(self, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        return self.items[rows], self.behaviors[rows], self.mask[rows]


def _batch(seed: int, lengths: tuple[int, ...], length: int, dim: int = 6) -> _Batch:
    """Padding holds item 0 and a vector that is *not* zero: no routing may look at it."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.tensor(lengths)[:, None]
    items = torch.randint(1, 1000, (len(lengths), length), generator=generator) * mask
    behaviors = 2 * torch.randn(len(lengths), length, dim, generator=generator)
    return _Batch(items, behaviors, mask)


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-4)


LENGTHS = (12, 9, 8, 3)


def padding_changes_nothing(function: RoutingFunction) -> bool:
    """The same users in a window of 12 and of 40 have the same interests."""
    wide = _batch(0, LENGTHS, 40)
    narrow = function(wide.items[:, :12], wide.behaviors[:, :12], wide.mask[:, :12])
    return _close(function(*wide.rows(slice(None))).vectors, narrow.vectors)


def batch_equals_single(function: RoutingFunction) -> bool:
    """A user has the same interests alone as among others."""
    batch = _batch(1, LENGTHS, 12)
    together = function(*batch.rows(slice(None))).vectors
    alone = [function(*batch.rows(slice(n, n + 1))).vectors for n in range(len(LENGTHS))]
    return _close(torch.cat(alone), together)


def no_state_between_calls(function: RoutingFunction) -> bool:
    """A call gives the same before and after a call for others."""
    batch, others = _batch(2, LENGTHS, 12), _batch(3, LENGTHS, 12)
    first = function(*batch.rows(slice(None))).vectors
    function(*others.rows(slice(None)))
    return _close(function(*batch.rows(slice(None))).vectors, first)


def interests_differ(function: RoutingFunction) -> bool:
    """A user who may have several interests has no two that are one vector."""
    result = function(*_batch(4, LENGTHS, 12).rows(slice(None)))
    unit = torch.nn.functional.normalize(result.vectors, dim=2)
    cosine = (unit @ unit.transpose(1, 2)).triu(diagonal=1)
    pairs = (result.active[:, :, None] & result.active[:, None, :]).triu(diagonal=1)
    return bool((cosine[pairs] < 1 - 1e-4).all())


def weights_sum_to_one(function: RoutingFunction) -> bool:
    """Each behaviour's weights sum to 1 over the user's interests; padding has none."""
    batch = _batch(5, LENGTHS, 14)
    result = function(*batch.rows(slice(None)))
    weights = result.coupling.masked_fill(~result.active[:, :, None], 0)
    return _close(result.coupling, weights) and _close(weights.sum(1), batch.mask.float())


def order_changes_nothing(function: RoutingFunction) -> bool:
    """A history is a set (§3.1): the same behaviours in another order, the same interests."""
    batch = _batch(6, (12, 12, 12), 12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    permuted = function(batch.items[:, order], batch.behaviors[:, order], batch.mask)
    return _close(permuted.vectors, function(*batch.rows(slice(None))).vectors)


PROPERTIES: dict[str, Callable[[RoutingFunction], bool]] = {
    PADDING: padding_changes_nothing,
    BATCH: batch_equals_single,
    STATE: no_state_between_calls,
    DIFFER: interests_differ,
    SUM: weights_sum_to_one,
    ORDER: order_changes_nothing,
}


def violations(function: RoutingFunction) -> list[str]:
    """The properties that a routing function lacks; none, if it is right.

    Each is tried on a copy, so that what one call leaves behind does not blame another property.
    """
    return [name for name, holds in PROPERTIES.items() if not holds(copy.deepcopy(function))]


def in_batches(
    function: RoutingFunction,
    items: Int[Tensor, "users length"],
    behaviors: Float[Tensor, "users length dim"],
    mask: Bool[Tensor, "users length"],
    *,
    size: int,
) -> Capsules:
    """Route many users, so many at a call, as a server would; what is remembered has its effect."""
    parts = [
        function(items[rows], behaviors[rows], mask[rows])
        for rows in torch.arange(len(items)).split(size)
    ]
    return Capsules(*(torch.cat(values) for values in zip(*parts, strict=True)))
