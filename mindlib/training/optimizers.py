"""Adam for a table of which a step touches few rows, and how fast to learn when (§3.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.lr_scheduler import LambdaLR

Schedule = Literal["constant", "cosine"]


class RowAdam(torch.optim.Optimizer):
    """Adam that updates only the rows with a gradient ("lazy Adam").

    Those rows, gathered, go through torch's own fused Adam; the moments of the others wait. The
    cost of a step depends on the rows touched and not on the size of the table.

    Beside `torch.optim.Adam` on the whole table: the number of steps that corrects the moments'
    bias is the table's and not the row's, so a row gets the same update as there as long as it
    was touched at every step since the first that touched it. Where it is left out, dense Adam
    still shrinks its moments by the betas and moves it along the old ones; here it rests, and
    meets its next gradient with the moments as they were. `torch.optim.SparseAdam` does the same
    as this, but adds epsilon before the correction of the second moment and not after it.

    Args:
        table: a 2-D parameter whose gradient is sparse.
        learning_rate, betas, epsilon: as in Adam.
    """

    def __init__(
        self,
        table: nn.Parameter,
        learning_rate: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__([table], {"lr": learning_rate, "betas": betas, "eps": epsilon})
        self.state[table] = {
            "step": torch.zeros((), dtype=torch.float32, device=table.device),
            "exp_avg": torch.zeros_like(table),
            "exp_avg_sq": torch.zeros_like(table),
        }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of the rows in the gradient."""
        group = self.param_groups[0]
        table = group["params"][0]
        if table.grad is None:
            return
        state = self.state[table]
        rows, values = distinct_rows(table.grad)
        whole = (table, state["exp_avg"], state["exp_avg_sq"])
        weights, mean, square = (tensor.index_select(0, rows) for tensor in whole)
        beta1, beta2 = group["betas"]
        adam(
            [weights], [values], [mean], [square], [], [state["step"]],
            fused=True, amsgrad=False, maximize=False, weight_decay=0.0,
            beta1=beta1, beta2=beta2, lr=group["lr"], eps=group["eps"],
        )  # fmt: skip
        for tensor, part in zip(whole, (weights, mean, square), strict=True):
            tensor.index_copy_(0, rows, part)


def distinct_rows(gradient: Tensor) -> tuple[Int[Tensor, " rows"], Float[Tensor, "rows dim"]]:
    """The rows of a sparse gradient, each once, and their values."""
    rows = gradient._indices()[0]
    if bool((rows[1:] > rows[:-1]).all()):  # sorted and distinct already: spare another sort
        return rows, gradient._values()
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()


def learning_rate_factor(step: int, steps: int, *, warmup_steps: int, schedule: Schedule) -> float:
    """What the learning rate is multiplied by at one step of training.

    It rises linearly over the first `warmup_steps`, to 1 at the last of them; then it stays there,
    or falls along half a cosine, to 0 just after the last step.

    Args:
        step: counted from 0.
        steps: of the whole training.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return (1 + math.cos(math.pi * min(1.0, done))) / 2


def make_schedulers(
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    steps: int,
    done: int,
    warmup_steps: int,
    schedule: Schedule,
) -> list[LambdaLR]:
    """One scheduler for each optimiser, to be stepped after it; none where the rate is constant.

    Args:
        steps: of the whole training.
        done: how many of them are behind us already.
    """
    if schedule == "constant" and not warmup_steps:
        return []

    def factor(step: int) -> float:
        return learning_rate_factor(step, steps, warmup_steps=warmup_steps, schedule=schedule)

    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
    return [LambdaLR(optimizer, factor, last_epoch=done - 1) for optimizer in optimizers]
