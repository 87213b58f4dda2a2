"""Exact search that reads a byte a value: integer products leave few items to score in float32.

The items and the queries are rounded to the integers -127 to 127, with a scale s of each dimension:

    e = s (q + r),    s v = t (p + ρ),    so that    v'e = t (p'q + ρ'q) + (s v)'r.

Therefore v'e differs from t p'q by at most ε = t |ρ| |q| + |s v| |r|. The n items with the largest
integer products are scored in float32. Their lowest score minus ε is a lower limit for t p'q of
all other items that can be among the n best, and these are scored in float32 too. So the result is
exact for any vectors; only the time depends on them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.retrieval.scores import Recommendations

multiply: Any = getattr(torch, "_int_mm", None)  # private, hence `has_fast_int8`

LARGEST = 127
BLOCK = 1 << 15  # items of one product, whose results fit into the cache
MAX_PRODUCTS, MIN_BLOCK = 1 << 19, 1 << 10  # the same for many users
SAMPLE = 1 << 15  # items from which the threshold is estimated
MAX_SHARE = 1 / 16  # of the items; with more of them to score again, float32 is as fast


class Int8Items:
    """Item vectors with a copy in int8.

    Args:
        items: finite vectors.
    """

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
        self.sample = self.rounded[:: math.ceil(len(items) / SAMPLE)].contiguous().T

    def top(self, queries: Float[Tensor, "queries dim"], n: int) -> Recommendations | None:
        """Return the positions of the n items with the largest inner product with any query.

        Returns:
            One row, best first; None if a product of all items in float32 is as fast.
        """
        whole, step, bound = (x[0] for x in self.round_queries(queries[None]))
        step, bound = float(step), float(bound)
        sampled = multiply(whole, self.sample).amax(0)
        expected = n * len(sampled) / len(self.items)
        rank = min(len(sampled), 1 + math.ceil(expected + 3 * math.sqrt(expected)))
        # 1.5 ε: the lowest score of the first n may be ε below their integer products.
        threshold = float(sampled.topk(rank).values[-1]) - 1.5 * bound
        if int((sampled >= threshold).sum()) > MAX_SHARE * len(sampled):
            return None
        positions, products = self._above(whole, math.ceil(threshold))
        if len(positions) < n:
            return None
        first = products.topk(n, sorted=False).indices
        scores = self._scores(queries, positions[first])
        lowest = float(scores.min()) / step - bound
        if lowest < threshold:
            return None
        is_left = products >= lowest
        is_left[first] = False
        found = torch.cat([positions[first], positions[is_left]])
        best = torch.cat([scores, self._scores(queries, positions[is_left])]).topk(n)
        return Recommendations(found[best.indices][None], best.values[None])

    def round_queries(
        self, queries: Float[Tensor, "users queries dim"]
    ) -> tuple[Int[Tensor, "users queries dim"], Float[Tensor, " users"], Float[Tensor, " users"]]:
        """Return p, and t and ε / t, which the queries of one user share.

        The bound includes the rounding of float32, in which candidates are scored again.
        """
        exact = queries.double()
        scaled = exact * self.scale
        step = (scaled.abs().amax((1, 2)) / LARGEST).clamp(min=1e-30)
        scaled /= step[:, None, None]
        integers = scaled.round()
        error = self.residual * scaled.norm(dim=2) + self.norm * (scaled - integers).norm(dim=2)
        rounding = exact.norm(dim=2) * self.item_norm * len(self.scale) * 2**-23
        return integers.to(torch.int8), step, 1.001 * error.amax(1) + rounding.amax(1) / step

    def _scores(
        self, queries: Float[Tensor, "queries dim"], positions: Int[Tensor, " found"]
    ) -> Float[Tensor, " found"]:
        return (queries @ self.items[positions].T).amax(0)

    def best_products(
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

    def _above(
        self, queries: Int[Tensor, "queries dim"], threshold: int
    ) -> tuple[Int[Tensor, " found"], Int[Tensor, " found"]]:
        """Return each item whose largest product with a query reaches a threshold, and this one."""
        memory = torch.empty(len(queries) * BLOCK, dtype=torch.int32)
        largest = torch.empty(BLOCK, dtype=torch.int32)
        positions, products = [], []
        for number, block in enumerate(self.rounded.split(BLOCK)):
            shape = len(queries), len(block)
            out = memory[: math.prod(shape)].view(shape)
            multiply(queries, block.T, out=out)
            maxima = torch.amax(out, 0, out=largest[: shape[1]]).numpy()
            (reached,) = (maxima >= threshold).nonzero()  # several times as fast as torch's nonzero
            positions.append(reached + number * BLOCK)
            products.append(maxima[reached])
        both = np.concatenate(positions), np.concatenate(products)
        return torch.from_numpy(both[0]), torch.from_numpy(both[1])


@cache
def has_fast_int8() -> bool:
    """Whether torch multiplies int8 exactly on this processor, and faster than float32.

    Without instructions for it, a product of int8 is slow or overflows; `torch._int_mm` is private
    and may be missing. The times are those of the processor, which other programs hardly change.
    """
    items = torch.full((BLOCK, 64), LARGEST, dtype=torch.int8)
    queries = torch.full((4, 64), LARGEST, dtype=torch.int8)
    queries[1::2] *= -1
    product = torch.empty((4, BLOCK), dtype=torch.int32)
    try:
        multiply(queries, items.T, out=product)
    except (TypeError, RuntimeError):  # missing, or refuses
        return False
    if not torch.equal(product.double(), queries.double() @ items.double().T):
        return False
    floats = items.float(), queries.float()
    ours = _seconds(lambda: multiply(queries, items.T, out=product))
    return ours < 0.7 * _seconds(lambda: floats[1] @ floats[0].T)


def _seconds(call: Callable[[], object]) -> float:
    """Return the shortest time of five calls on this thread's processor."""
    times = []
    for _ in range(5):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return min(times)
