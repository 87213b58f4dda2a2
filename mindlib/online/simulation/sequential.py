"""Sequential reading of a test: bounds that allow a look every day.

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

from mindlib.data.option_types import check_option

Shape = Literal["pocock", "obrien-fleming"]
DRAWS = 200_000


def null_scores(
    information: Sequence[float], *, draws: int = DRAWS, generator: np.random.Generator
) -> Float[np.ndarray, "draws looks"]:
    """Simulate scores of tests without a difference, one column for each look.

    Args:
        information: the variance of the final estimate divided by that of the estimate at each
            look, rising to 1. It is day / days if as many users come every day and none returns;
            returning users add less.

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
    """Compute the bound on |Z| at each look that keeps the level over all looks, by simulation.

    Args:
        shape: "pocock" is constant; "obrien-fleming" falls as 1 / sqrt(t).

    Raises:
        ValueError: an unknown shape, alpha outside (0, 1), or as `null_scores`.
    """
    check_option("shape", shape, Shape)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}: expected a probability between 0 and 1")
    t = np.asarray(information, dtype=np.float64)
    scores = np.abs(null_scores(information, draws=draws, generator=generator))
    falling = 1 / np.sqrt(t) if shape == "obrien-fleming" else np.ones(len(t))
    return falling * np.quantile((scores / falling).max(1), 1 - alpha)
