"""The exercises of notebook 06: K lists in time, and the sample ratio."""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mindlib.lessons.common.staged import Exercise


def _in_time(
    items: Int[Tensor, "interests m"],
    scores: Float[Tensor, "interests m"],
    milliseconds: Float[Tensor, " interests"],
    budget: float,
    n: int,
) -> Int[Tensor, " n"]:
    return _merged(items[milliseconds <= budget], scores[milliseconds <= budget], n)


def _merged(items: Tensor, scores: Tensor, n: int) -> Tensor:
    best: dict[int, float] = {}
    for item, score in zip(items.flatten().tolist(), scores.flatten().tolist(), strict=True):
        best[item] = max(score, best.get(item, -math.inf))
    return _padded(sorted(best, key=best.__getitem__, reverse=True), n)


def _padded(found: list[int], n: int) -> Tensor:
    return torch.tensor([*found[:n], *[0] * (n - len(found))])


def _twice(items: Tensor, scores: Tensor, milliseconds: Tensor, budget: float, n: int) -> Tensor:
    arrived = milliseconds <= budget
    order = scores[arrived].flatten().argsort(descending=True)
    return _padded(items[arrived].flatten()[order].tolist(), n)


def _last_score(
    items: Tensor, scores: Tensor, milliseconds: Tensor, budget: float, n: int
) -> Tensor:
    arrived = milliseconds <= budget
    pairs = zip(items[arrived].flatten().tolist(), scores[arrived].flatten().tolist(), strict=True)
    found = dict(pairs)
    return _padded(sorted(found, key=found.__getitem__, reverse=True), n)


def _searches(seed: int, interests: int, m: int, items: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = torch.stack(
        [torch.randperm(items, generator=generator)[:m] + 1 for _ in range(interests)]
    )
    scores = torch.rand(found.shape, generator=generator).sort(1, descending=True).values
    return found, scores, 2 + 8 * torch.rand(interests, generator=generator)


IN_TIME = Exercise(
    name="in_time",
    solution=_in_time,
    examples=(
        (
            torch.tensor([[7, 3, 9], [3, 5, 2], [8, 7, 1]]),
            torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.7, 0.3], [1.0, 0.6, 0.2]]),
            torch.tensor([4.0, 5.0, 30.0]),
            15.0,
            4,
        ),
        (*_searches(1, 5, 6, 12), 7.0, 8),
        (*_searches(5, 4, 3, 6), 6.0, 10),
    ),
    mistakes={
        "a list that arrived after the budget is used. Merge only the lists that arrived in "
        "time.": lambda items, scores, milliseconds, budget, n: _merged(items, scores, n),
        "the durations are summed. The searches run in parallel, so each has the whole budget.": (
            lambda items, scores, milliseconds, budget, n: _in_time(
                items, scores, milliseconds.cumsum(0), budget, n
            )
        ),
        "one late search leaves the user without a list. Use the lists that did arrive.": (
            lambda items, scores, milliseconds, budget, n: (
                _in_time(items, scores, milliseconds, budget, n) * (milliseconds <= budget).all()
            )
        ),
        "an item that two interests retrieved occurs twice.": _twice,
        "an item keeps the score of the last list that has it. Its score is the best one "
        "(Eq. 3).": _last_score,
        "the lists are concatenated. Sort by score across all of them.": (
            lambda items, scores, milliseconds, budget, n: _padded(
                list(dict.fromkeys(items[milliseconds <= budget].flatten().tolist())), n
            )
        ),
    },
)


def _sample_ratio(
    counts: Shaped[Tensor, " arms"],
    shares: Float[Tensor, " arms"],
    *,
    fixed: int = 1,
    by_observed: bool = False,
) -> Float[Tensor, ""]:
    """Compute the p-value, with variations that are mistakes; `fixed` counts are known."""
    expected = shares.double() * counts.sum()
    chi_square = ((counts - expected) ** 2 / (counts if by_observed else expected)).sum()
    half = torch.tensor((len(counts) - fixed) / 2, dtype=torch.float64)
    return torch.special.gammaincc(half, chi_square / 2)


SAMPLE_RATIO = Exercise(
    name="sample_ratio",
    solution=_sample_ratio,
    examples=(
        (torch.tensor([5070, 4930]), torch.tensor([0.5, 0.5], dtype=torch.float64)),
        (torch.tensor([940, 2080, 2050]), torch.tensor([0.2, 0.4, 0.4], dtype=torch.float64)),
    ),
    mistakes={
        "the arms are compared with equal shares. The expected shares are `shares`.": (
            lambda counts, shares: _sample_ratio(counts, torch.full_like(shares, 1 / len(shares)))
        ),
        "there is one degree of freedom too many. The sum of the counts is known, so subtract 1 "
        "from the number of arms.": partial(_sample_ratio, fixed=0),
        "the squares are divided by the observed counts. Divide by the expected ones.": partial(
            _sample_ratio, by_observed=True
        ),
        "shares are compared instead of counts. A deviation of one percent is likely among a "
        "hundred users and unlikely among a million: compare counts.": lambda counts, shares: (
            _sample_ratio(counts.double() / counts.sum(), shares)
        ),
        "this is the probability of a smaller deviation. The p-value is that of one at least as "
        "large.": lambda counts, shares: 1 - _sample_ratio(counts, shares),
    },
)
