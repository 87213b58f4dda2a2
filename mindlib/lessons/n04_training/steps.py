"""Adam by rows beside dense Adam (§3.5): where a row goes, and what a step costs."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.training.optimizers import RowAdam

TOUCHED = 1024


class Paths(NamedTuple):
    """A table of rows after each step, by the two optimisers.

    Attributes:
        by_rows, dense: from the start on.
        touched: which rows had a gradient at each step.
    """

    by_rows: Float[np.ndarray, "steps_plus_one rows"]
    dense: Float[np.ndarray, "steps_plus_one rows"]
    touched: Float[np.ndarray, "steps rows"]


def paths(touched: Float[np.ndarray, "steps rows"], *, learning_rate: float = 0.1) -> Paths:
    """Both optimisers on the same gradients: 1 for a touched row, none for the others.

    Args:
        touched: 1 where a row has a gradient at a step, else 0.
    """
    rows = touched.shape[1]
    tables = [nn.Parameter(torch.zeros(rows, 1)) for _ in range(2)]
    optimizers = RowAdam(tables[0], learning_rate), torch.optim.Adam(tables[1:], lr=learning_rate)
    taken = [[np.zeros(rows)], [np.zeros(rows)]]
    for step in touched:
        index = torch.from_numpy(np.flatnonzero(step))
        values = torch.ones(len(index), 1)
        tables[0].grad = torch.sparse_coo_tensor(
            index[None], values, (rows, 1), check_invariants=False
        )
        tables[1].grad = torch.zeros(rows, 1).index_add(0, index, values)
        for table, optimizer, path in zip(tables, optimizers, taken, strict=True):
            optimizer.step()
            path.append(table.detach()[:, 0].double().numpy().copy())
    return Paths(np.stack(taken[0]), np.stack(taken[1]), touched)


class StepCost(NamedTuple):
    """One step of both optimisers on a table of this size.

    Attributes:
        by_rows, dense: milliseconds, the fastest of some steps, which other programs disturb least.
        gigabytes: the table and the two moments, which both have.
        gradient: gigabytes of a dense gradient beside them, which dense Adam alone needs.
    """

    rows: int
    by_rows: float
    dense: float
    gigabytes: float
    gradient: float


def step_cost(rows: int, *, dim: int = 64, touched: int = TOUCHED, steps: int = 7) -> StepCost:
    """Measure it: the two take turns, so that what else the machine does meets both."""
    generator = torch.Generator().manual_seed(0)
    index = torch.randperm(rows, generator=generator)[: min(touched, rows)].sort().values
    values = torch.randn(len(index), dim, generator=generator)
    sparse, dense = (nn.Parameter(torch.zeros(rows, dim)) for _ in range(2))
    by_rows, whole = RowAdam(sparse, 1e-3), torch.optim.Adam([dense], lr=1e-3, fused=True)

    def sparse_step() -> None:
        sparse.grad = torch.sparse_coo_tensor(
            index[None], values, sparse.shape, check_invariants=False
        )
        by_rows.step()

    def dense_step() -> None:
        gradient = torch.zeros_like(dense)
        dense.grad = gradient.index_copy_(0, index, values)
        whole.step()

    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(steps + 1):
        for step, times in zip((sparse_step, dense_step), taken, strict=True):
            started = time.perf_counter()
            step()
            if number:  # the first one warms up
                times.append(1e3 * (time.perf_counter() - started))
    size = 4e-9 * rows * dim
    return StepCost(rows, min(taken[0]), min(taken[1]), 3 * size, size)


def same(a: Tensor, b: Tensor) -> bool:
    """Bit for bit."""
    return a.shape == b.shape and bool((a.view(torch.int32) == b.view(torch.int32)).all())
