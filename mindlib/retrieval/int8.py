"""Exact search that reads a byte a value: integer products leave few items to score in float32.

The items and the queries are rounded to the integers -127 to 127, with a scale s of each dimension:

    e = s (q + r),    s v = t (p + ρ),    so that    v'e = t (p'q + ρ'q) + (s v)'r.

Therefore v'e differs from t p'q by at most ε = t |ρ| |q| + |s v| |r|. If n items have integer
products of at least m, their scores are at least t m - ε, and only items with integer products of
at least m - 2 ε / t can be among the n best. These are scored in float32. So the result is exact
for any vectors; only the time depends on them.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.retrieval.scores import (
    BLOCK_SIZE,
    Recommendations,
    pad,
    score_by_best_interest,
    top_n,
)

multiply: Any = getattr(torch, "_int_mm", None)  # private, hence `has_exact_int8`

LARGEST = 127
BLOCK = 1 << 15  # items that are rounded together
MAX_PRODUCTS, MIN_BLOCK = 1 << 19, 1 << 10  # results of a product fit into the cache
MAX_SHARE = 1 / 8  # of the items; with more candidates, float32 is as fast
EXCLUDED = -(1 << 30)  # below every product


class Int8Items:
    """Item vectors, which must be finite, with a copy in int8."""

    def __init__(self, items: Float[Tensor, "items dim"]) -> None:
        self.items = items
        self.scale = (items.abs().amax(0) / LARGEST).clamp(min=1e-30)
        self.rounded = torch.empty(items.shape, dtype=torch.int8)
        norms = []  # the largest |r|, |q| and |e| of each block
        for part, target in zip(items.split(BLOCK), self.rounded.split(BLOCK), strict=True):
            scaled = part / self.scale
            integers = scaled.round()
            target.copy_(integers)
            norms.append([x.norm(dim=1).max() for x in (scaled - integers, integers, part)])
        self.residual, self.norm, self.item_norm = torch.tensor(norms).amax(0).tolist()

    def top(
        self,
        vectors: Float[Tensor, "users interests dim"],
        n: int,
        excluded: Int[Tensor, "two pairs"],
    ) -> Recommendations:
        """Return the positions of the n items with the best score of any interest of each user.

        Args:
            excluded: rows of users, and positions of the items that they must not get.
        """
        if n > len(self.items) // (2 * BLOCK_SIZE):
            return top_in_float32(self.items, vectors, n, excluded)
        whole, bound = self._round(vectors)
        products = self._best_products(whole)
        products[excluded[0], excluded[1]] = EXCLUDED
        users, width = products.shape
        body = products[:, : width // BLOCK_SIZE * BLOCK_SIZE]
        maxima = body.unflatten(1, (-1, BLOCK_SIZE)).amax(2)
        # At least n items reach the n-th best maximum, so their scores reach it minus ε.
        lowest = maxima.topk(n, sorted=False).values.amin(1) - 2 * bound
        lowest = lowest.floor().clamp(min=EXCLUDED + 1).int()
        # NumPy's nonzero is several times as fast as torch's.
        (found,) = (products.numpy() >= lowest[:, None].numpy()).ravel().nonzero()
        row, item = (torch.from_numpy(x) for x in np.divmod(found, width))
        counts = row.bincount(minlength=users)
        longest = max(n, int(counts.max()))
        if longest > width * MAX_SHARE:
            return top_in_float32(self.items, vectors, n, excluded)
        candidates = torch.zeros((users, longest), dtype=torch.int64)
        candidates[row, torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]] = item
        rows_of = self.items.index_select(0, candidates.flatten()).unflatten(0, candidates.shape)
        scores = (rows_of @ vectors.transpose(1, 2)).amax(2)
        scores[torch.arange(longest) >= counts[:, None]] = -torch.inf
        best, order = scores.topk(n)
        return pad(best, candidates.gather(1, order))

    def _round(
        self, queries: Float[Tensor, "users queries dim"]
    ) -> tuple[Int[Tensor, "users queries dim"], Float[Tensor, " users"]]:
        """Return p, and ε / t, which the queries of one user share.

        The bound includes the rounding of float32, in which candidates are scored again.
        """
        exact = queries.double()
        scaled = exact * self.scale
        step = (scaled.abs().amax((1, 2)) / LARGEST).clamp(min=1e-30)
        scaled /= step[:, None, None]
        integers = scaled.round()
        error = self.residual * scaled.norm(dim=2) + self.norm * (scaled - integers).norm(dim=2)
        rounding = exact.norm(dim=2) * self.item_norm * len(self.scale) * 2**-23
        return integers.to(torch.int8), 1.001 * error.amax(1) + rounding.amax(1) / step

    def _best_products(
        self, queries: Int[Tensor, "users queries dim"]
    ) -> Int[Tensor, "users items"]:
        """Return the largest product p'q of any query of each user."""
        users, count, _ = queries.shape
        size = max(MIN_BLOCK, MAX_PRODUCTS // (users * count))
        memory = torch.empty(users * count * size, dtype=torch.int32)
        largest = torch.empty((users, len(self.items)), dtype=torch.int32)
        for block, target in zip(self.rounded.split(size), largest.split(size, 1), strict=True):
            out = memory[: users * count * len(block)].view(users * count, -1)
            multiply(queries.flatten(0, 1), block.T, out=out)
            torch.amax(out.unflatten(0, (users, count)), 1, out=target)
        return largest


def top_in_float32(
    items: Float[Tensor, "items dim"],
    vectors: Float[Tensor, "users interests dim"],
    n: int,
    excluded: Int[Tensor, "two pairs"],
) -> Recommendations:
    """Return the same as `Int8Items.top` from the scores of all items."""
    every = torch.ones(vectors.shape[:2], dtype=torch.bool)
    scores = score_by_best_interest(vectors, every, items)
    scores[excluded[0], excluded[1]] = -torch.inf
    return top_n(scores, n)


@cache
def has_fast_int8() -> bool:
    """Whether torch multiplies int8 exactly on this processor, and faster than float32.

    The times are those of the processor, which other programs hardly change.
    """
    if not has_exact_int8():
        return False
    queries, items, product = _largest_operands()
    floats = queries.float(), items.float()
    ours = _seconds(lambda: multiply(queries, items.T, out=product))
    return ours < 0.7 * _seconds(lambda: floats[0] @ floats[1].T)


def has_exact_int8() -> bool:
    """Whether products of int8, for which some processors lack instructions, never overflow.

    `torch._int_mm`, which multiplies them, is private and may be missing.
    """
    queries, items, product = _largest_operands()
    try:
        multiply(queries, items.T, out=product)
    except (TypeError, RuntimeError):  # missing, or refuses
        return False
    return torch.equal(product.double(), queries.double() @ items.double().T)


def _largest_operands() -> tuple[Tensor, Tensor, Tensor]:
    """Return queries and items with products as large as possible, and the memory for them."""
    items = torch.full((BLOCK, 64), LARGEST, dtype=torch.int8)
    queries = torch.full((4, 64), LARGEST, dtype=torch.int8)
    queries[1::2] *= -1
    return queries, items, torch.empty((4, BLOCK), dtype=torch.int32)


def _seconds(call: Callable[[], object]) -> float:
    """Return the shortest time of five calls on this thread's processor."""
    return min(timeit.repeat(call, timer=time.thread_time, repeat=5, number=1))
