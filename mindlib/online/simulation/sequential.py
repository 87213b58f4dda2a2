"""Looking every day: what it does to a test that is meant for one look, and what may be done.

Whoever stops as soon as |Z| > 1.96 has seven chances in a week to be wrong instead of one. Bounds
that are wide on the first days and narrow on the last pay for the looks: with O'Brien and
Fleming's the last day keeps nearly the level of a single look.

Under the null hypothesis the scores of the looks, over data that only grow, are those of a
Brownian motion at the information fractions t_1 < ... < t_n = 1: Z_j = B(t_j) / sqrt(t_j).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy import stats

Shape = Literal["none", "pocock", "obrien-fleming"]
DRAWS = 200_000


def null_scores(
    information: Sequence[float], *, draws: int = DRAWS, generator: np.random.Generator
) -> Float[np.ndarray, "draws looks"]:
    """Scores of tests without any difference, a column for each look.

    Args:
        information: the share of the final information at each look, rising to 1. With as many
            users every day and users who do not come back it is day / days; those who come back
            add less (see `information`).

    Raises:
        ValueError: the fractions do not rise from above 0 to 1.
    """
    t = np.asarray(information, dtype=np.float64)
    steps = np.diff(t, prepend=0)
    if not len(t) or steps.min() <= 0 or not np.isclose(t[-1], 1):
        raise ValueError(f"information={tuple(information)}: expected fractions rising to 1")
    increments = np.sqrt(steps) * generator.standard_normal((draws, len(t)))
    return increments.cumsum(1) / np.sqrt(t)


def bounds(
    information: Sequence[float],
    shape: Shape,
    *,
    alpha: float = 0.05,
    draws: int = DRAWS,
    generator: np.random.Generator,
) -> Float[np.ndarray, " looks"]:
    """The bound on |Z| at each look, computed by simulation.

    "none" is the bound of a single look, at every look: what peeking uses. "pocock" is a constant
    that keeps the level over all looks; "obrien-fleming" falls as 1 / sqrt(t) and keeps it.

    Raises:
        ValueError: an unknown shape, alpha outside (0, 1), or as `null_scores`.
    """
    if shape not in get_args(Shape):
        raise ValueError(
            f"shape={shape!r}: expected one of {', '.join(map(repr, get_args(Shape)))}"
        )
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}: expected a probability between 0 and 1")
    t = np.asarray(information, dtype=np.float64)
    scores = np.abs(null_scores(information, draws=draws, generator=generator))
    if shape == "none":
        return np.full(len(t), float(stats.norm.ppf(1 - alpha / 2)))
    falling = 1 / np.sqrt(t) if shape == "obrien-fleming" else np.ones(len(t))
    return falling * np.quantile((scores / falling).max(1), 1 - alpha)


def crossed(
    scores: Float[np.ndarray, "tests looks"], bound: Float[np.ndarray, " looks"]
) -> Float[np.ndarray, " looks"]:
    """The share of tests that this look or one before it would have stopped with a finding."""
    return np.logical_or.accumulate(np.abs(scores) > bound, axis=1).mean(0)


def information(variances: Sequence[float]) -> list[float]:
    """Information fractions from the variance of the estimate at each look.

    Raises:
        ValueError: a variance is not positive.
    """
    if min(variances) <= 0:
        raise ValueError(f"variances={tuple(variances)}: expected positive numbers")
    return [variances[-1] / v for v in variances]
