"""The exercises of notebook 00: pooling with gaps, the dimension of one vector, cost of a scan."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.lessons.common.staged import Exercise
from mindlib.lessons.n00_problem.crowded import covered, crowded_worlds

DIMENSIONS = (4, 8, 16, 32, 64, 128)


def _pool(
    table: Float[Tensor, "rows dim"], codes: Int[Tensor, "items fields"]
) -> Float[Tensor, "items dim"]:
    known = (codes > 0)[:, :, None]
    return (table[codes] * known).sum(1) / known.sum(1).clamp(min=1)


# Row 0 is not zero here, so that it has to be left out.
_TABLE = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [-1.0, 4.0]])

POOLING = Exercise(
    name="pool",
    solution=_pool,
    examples=[
        (_TABLE, torch.tensor([[1, 2, 4], [3, 2, 4]])),
        (_TABLE, torch.tensor([[1, 2, 4], [3, 0, 4], [3, 0, 0]])),
        (_TABLE, torch.tensor([[1, 2, 0], [0, 0, 0]])),
    ],
    mistakes={
        "the mean contains row 0 of the table. Code 0 means that the field is unknown: leave it "
        "out.": lambda table, codes: table[codes].mean(1),
        "unknown fields count as zeros. Divide by the number of known fields, because the item's "
        "norm would otherwise shrink with each gap.": lambda table, codes: (
            table[codes] * (codes > 0)[:, :, None]
        ).mean(1),
        "they are sums. An item with all fields would have a larger norm than one with gaps and "
        "win inner products by it: divide by the number of known fields.": lambda table, codes: (
            table[codes] * (codes > 0)[:, :, None]
        ).sum(1),
    },
)


def _smallest_dimension(liked: int, per_interest: bool = False, share: float = 0.9) -> Tensor:
    def suffices(d: int) -> bool:
        items = crowded_worlds(d, 50)
        means = items[:, :liked].mean(2)  # (worlds, liked, d)
        vectors = means if per_interest else means.mean(1, keepdim=True)
        return bool(covered(vectors, items, liked).mean() >= share * liked)

    return torch.tensor(next(d for d in DIMENSIONS if suffices(d)))


SMALLEST_DIMENSION = Exercise(
    name="smallest_dimension",
    solution=_smallest_dimension,
    examples=[(2,), (4,), (8,)],
    mistakes={
        "that is the dimension for one vector per interest. Average the means of the liked "
        "clusters to one vector first.": lambda liked: _smallest_dimension(liked, True),
        "that is the dimension for half of the clusters; cover nine tenths.": lambda liked: (
            _smallest_dimension(liked, share=0.5)
        ),
    },
)

BREAK_EVEN = Exercise(
    name="break_even",
    solution=lambda size, bandwidth, speed: torch.tensor(size * speed / (2 * bandwidth)),
    examples=[(4.0, 2e12, 20e12), (1.0, 2e12, 20e12), (2.0, 3e12, 60e12)],
    mistakes={
        "an inner product of d numbers takes d multiplications and d additions: 2d FLOP.": (
            lambda size, bandwidth, speed: torch.tensor(size * speed / bandwidth)
        ),
        "a number takes `size` bytes.": (
            lambda size, bandwidth, speed: torch.tensor(speed / (2 * bandwidth))
        ),
        "that is the inverse. With more queries the time for computing grows, and the time for "
        "reading does not.": (
            lambda size, bandwidth, speed: torch.tensor(2 * bandwidth / (size * speed))
        ),
    },
)
