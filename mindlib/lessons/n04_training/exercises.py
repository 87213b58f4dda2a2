"""The exercises of notebook 04: the correction of another sampler, and a leak of the label."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mindlib.lessons.common.staged import Exercise


def _expected(
    *, power: float = 0.75, count: bool = True, whole: bool = True, sign: float = 1.0
) -> Callable[..., Tensor]:
    """Return the solution, or a mistaken variant of it."""

    def log_expected(ids: Tensor, counts: Tensor, m: int) -> Tensor:
        weights = counts.double() ** power
        q = weights / (weights.sum() if whole else weights[ids].sum())
        return sign * (q[ids] * (m if count else 1)).log()

    return log_expected


_COUNTS = torch.tensor([0, 16, 1, 81, 256])
LOG_EXPECTED = Exercise(
    name="log_expected_counts",
    solution=_expected(),
    examples=(
        (torch.tensor([1]), _COUNTS, 1),
        (torch.tensor([1, 2, 3]), _COUNTS, 3),
        (torch.tensor([4, 4, 2]), _COUNTS, 50),
    ),
    mistakes={
        "the counts are not raised to 0.75. q is proportional to count ** 0.75, the distribution "
        "that the negatives are sampled from.": _expected(power=1.0),
        "m is missing. A film is expected m q times among m negatives.": _expected(count=False),
        "q is divided by the sum over the sampled films. It is a distribution over the whole "
        "catalog: divide by the sum over all films.": _expected(whole=False),
        "the sign is wrong. Return log(m q); the loss subtracts it.": _expected(sign=-1.0),
    },
)


def _leak(items: Tensor, label: Tensor) -> Tensor:
    last = (items > 0).sum(1) - 1
    return items.scatter(1, last[:, None], label[:, None])


LEAK = Exercise(
    name="leak",
    solution=_leak,
    examples=(
        (torch.tensor([[4, 5, 6]]), torch.tensor([9])),
        (torch.tensor([[4, 5, 6], [7, 0, 0]]), torch.tensor([9, 8])),
        (torch.tensor([[4, 5, 0], [7, 2, 0]]), torch.tensor([9, 8])),
    ),
    mistakes={
        "the label is in the last column, behind the padding. The most recent film of a user is at "
        "position (number of films) - 1.": lambda items, label: torch.cat(
            [items[:, :-1], label[:, None]], dim=1
        ),
    },
)
