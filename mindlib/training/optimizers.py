"""Adam for an item table with sparse gradients, and learning rate schedules (§3.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.lr_scheduler import LambdaLR

from mindlib.training.config import TrainingConfig


class RowAdam(torch.optim.Optimizer):
    """Adam that updates only the rows with a gradient ("lazy Adam").

    These rows are gathered and updated by torch's fused Adam; the moments of all other rows are
    unchanged. Therefore, the cost of a step depends on the number of rows that are updated, not on
    the size of the table.

    Unlike in dense Adam, a row without a gradient is not updated by its old moments, and its
    moments do not decay. The bias correction counts the steps of the table, not those of the row,
    so a row with a gradient in every step since its first one is updated as in dense Adam.
    `torch.optim.SparseAdam` differs only in adding epsilon before the second bias correction.

    Args:
        table: a 2-D parameter whose gradient is sparse.
        learning_rate: lr of `torch.optim.Adam`, whose other defaults are used.
    """

    def __init__(self, table: nn.Parameter, learning_rate: float) -> None:
        super().__init__([table], {"lr": learning_rate})
        self.state[table] = {
            "step": torch.zeros((), dtype=torch.float32, device=table.device),
            "exp_avg": torch.zeros_like(table),
            "exp_avg_sq": torch.zeros_like(table),
        }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the rows that have a gradient."""
        group = self.param_groups[0]
        table = group["params"][0]
        if table.grad is None:
            return
        state = self.state[table]
        rows, values = distinct_rows(table.grad)
        tables = (table, state["exp_avg"], state["exp_avg_sq"])
        weights, mean, square = (tensor.index_select(0, rows) for tensor in tables)
        adam(
            [weights], [values], [mean], [square], [], [state["step"]],
            fused=True, amsgrad=False, maximize=False, weight_decay=0.0,
            beta1=0.9, beta2=0.999, lr=group["lr"], eps=1e-8,
        )  # fmt: skip
        for tensor, part in zip(tables, (weights, mean, square), strict=True):
            tensor.index_copy_(0, rows, part)


def distinct_rows(gradient: Tensor) -> tuple[Int[Tensor, " rows"], Float[Tensor, "rows dim"]]:
    """Return the rows of a sparse gradient in ascending order, each once, and their values."""
    rows = gradient._indices()[0]
    if bool((rows[1:] > rows[:-1]).all()):  # sorted and distinct already
        return rows, gradient._values()
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()


def dense_parameters(model: nn.Module, table: nn.Parameter) -> list[nn.Parameter]:
    """Return all parameters except the item table, the only one with a sparse gradient."""
    return [p for p in model.parameters() if p is not table and p.numel()]


def make_optimizers(
    model: nn.Module, table: nn.Parameter, learning_rate: float
) -> list[torch.optim.Optimizer]:
    """Return `RowAdam` for the item table and Adam for the other parameters, if there are any."""
    optimizers: list[torch.optim.Optimizer] = [RowAdam(table, learning_rate)]
    if dense := dense_parameters(model, table):
        optimizers.append(torch.optim.Adam(dense, lr=learning_rate, fused=True))
    return optimizers


def make_schedulers(
    optimizers: Sequence[torch.optim.Optimizer], config: TrainingConfig, *, steps: int, done: int
) -> list[LambdaLR]:
    """Return a scheduler for each optimizer, or none if the learning rate is constant.

    With schedule="cosine" the rate falls along half a cosine, to 0 just after the last step.

    Args:
        steps: the number of steps of the whole run.
        done: the number of steps before the run was interrupted; 0 for a new run.
    """
    if config.schedule == "constant":
        return []

    def factor(step: int) -> float:
        return (1 + math.cos(math.pi * min(1.0, step / steps))) / 2

    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
    return [LambdaLR(optimizer, factor, last_epoch=done - 1) for optimizer in optimizers]
