"""Sequential reading of a test: what daily looks do to its error rate, and bounds that allow them.

Stopping as soon as |Z| > 1.96 gives a week of daily looks seven chances of a false positive instead
of one. Bounds that are wide on the first days and narrow on the last one correct for this: with
O'Brien and Fleming's, the last day keeps nearly the level of a single look.

Under the null hypothesis the scores of the looks, over data that only grow, are those of a
Brownian motion at the information fractions t_1 < ... < t_n = 1: Z_j = B(t_j) / sqrt(t_j).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from mindlib.data.option_types import check_option

Shape = Literal["none", "pocock", "obrien-fleming"]
DRAWS = 200_000


def null_scores(
    information: Sequence[float], *, draws: int = DRAWS, generator: np.random.Generator
) -> Float[np.ndarray, "draws looks"]:
    """Simulate scores of tests without a difference, one column for each look.

    Args:
        information: the share of the final information at each look, rising to 1. It is day / days
            if as many users come every day and none returns; returning users add less (see
            `information_fractions`).

    Raises:
        ValueError: the fractions do not rise from above 0 to 1.
    """
    t = np.asarray(information, dtype=np.float64)
    steps = np.diff(t, prepend=0)
    if not len(t) or steps.min() <= 0 or not np.isclose(t[-1], 1):
        raise ValueError(f"information={tuple(information)}: expected fractions rising to 1")
    increments = np.sqrt(steps) * generator.standard_normal((draws, len(t)))
    return increments.cumsum(1) / np.sqrt(t)


def stopping_bounds(
    information: Sequence[float],
    shape: Shape,
    *,
    alpha: float = 0.05,
    draws: int = DRAWS,
    generator: np.random.Generator,
) -> Float[np.ndarray, " looks"]:
    """Compute the bound on |Z| at each look, by simulation.

    Args:
        shape: "none" is the bound of a single look at every look, which is what peeking uses;
            "pocock" is a constant that keeps the level over all looks; "obrien-fleming" falls as
            1 / sqrt(t) and keeps it.

    Raises:
        ValueError: an unknown shape, alpha outside (0, 1), or as `null_scores`.
    """
    check_option("shape", shape, Shape)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}: expected a probability between 0 and 1")
    t = np.asarray(information, dtype=np.float64)
    scores = np.abs(null_scores(information, draws=draws, generator=generator))
    if shape == "none":
        return np.full(len(t), float(stats.norm.ppf(1 - alpha / 2)))
    falling = 1 / np.sqrt(t) if shape == "obrien-fleming" else np.ones(len(t))
    return falling * np.quantile((scores / falling).max(1), 1 - alpha)


def stopped_share(
    scores: Float[np.ndarray, "tests looks"], bounds: Float[np.ndarray, " looks"]
) -> Float[np.ndarray, " looks"]:
    """Return the share of tests that are stopped at each look or before it."""
    return np.logical_or.accumulate(np.abs(scores) > bounds, axis=1).mean(0)


def information_fractions(variances: Sequence[float]) -> list[float]:
    """Turn the variance of the estimate at each look into information fractions.

    Raises:
        ValueError: a variance is not positive.
    """
    if min(variances) <= 0:
        raise ValueError(f"variances={tuple(variances)}: expected positive numbers")
    return [variances[-1] / v for v in variances]
