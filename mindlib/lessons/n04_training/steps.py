"""Adam by rows and dense Adam on the same gradients (§3.5)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from mindlib.training.optimizers import RowAdam


def paths(
    touched: Float[np.ndarray, "steps rows"], *, learning_rate: float = 0.1
) -> tuple[Float[np.ndarray, "steps_plus_one rows"], Float[np.ndarray, "steps_plus_one rows"]]:
    """Return the weights after each step of Adam by rows and of dense Adam, from zeros.

    Args:
        touched: 1 where a row has a gradient at a step, which is then 1, else 0.
        learning_rate: of both optimizers.
    """
    rows = touched.shape[1]
    tables = [nn.Parameter(torch.zeros(rows, 1)) for _ in range(2)]
    optimizers = RowAdam(tables[0], learning_rate), torch.optim.Adam(tables[1:], lr=learning_rate)
    taken = [[np.zeros(rows)], [np.zeros(rows)]]
    for step in touched:
        gradient = torch.from_numpy(step).float()[:, None]
        tables[0].grad, tables[1].grad = gradient.to_sparse(1), gradient
        for table, optimizer, path in zip(tables, optimizers, taken, strict=True):
            optimizer.step()
            path.append(table.detach()[:, 0].double().numpy().copy())
    return np.stack(taken[0]), np.stack(taken[1])
