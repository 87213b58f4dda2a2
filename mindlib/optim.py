"""Adam for a table of which a step touches few rows (§3.5)."""

from __future__ import annotations

import torch
from torch import nn


class RowAdam(torch.optim.Optimizer):
    """Adam that updates only the rows with a gradient ("lazy Adam").

    On the rows that it touches it is Adam to the letter; the moments of the others wait. The cost
    of a step depends on the rows touched and not on the size of the table.

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
            "step": 0,
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
        gradient = table.grad.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        state, (beta1, beta2) = self.state[table], group["betas"]
        state["step"] += 1
        mean = state["exp_avg"][rows].lerp_(values, 1 - beta1)
        square = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
        state["exp_avg"][rows] = mean
        state["exp_avg_sq"][rows] = square
        correction1 = 1 - beta1 ** state["step"]
        correction2 = 1 - beta2 ** state["step"]
        spread = square.div_(correction2).sqrt_().add_(group["eps"])
        table[rows] = table[rows].addcdiv_(mean, spread, value=-group["lr"] / correction1)
