"""Adam for a table of which a step touches few rows (§3.5)."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.adam import adam


class RowAdam(torch.optim.Optimizer):
    """Adam that updates only the rows with a gradient ("lazy Adam").

    Those rows, gathered, go through torch's own fused Adam; the moments of the others wait. The
    cost of a step depends on the rows touched and not on the size of the table.

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
        rows, values = _distinct_rows(table.grad)
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


def _distinct_rows(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of a sparse gradient, each once, and their values."""
    rows = gradient._indices()[0]
    if bool((rows[1:] > rows[:-1]).all()):  # sorted and distinct already: spare another sort
        return rows, gradient._values()
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()
