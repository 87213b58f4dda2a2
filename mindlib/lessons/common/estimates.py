"""Numbers measured over many draws, each with its 95 % confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor


class Estimate(NamedTuple):
    """A number measured over draws, with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def percent(self) -> str:
        """The same in percent, without decimals."""
        return f"{self.value:.0%} ({self.low:.0%} to {self.high:.0%})"


def share(happened: Bool[Tensor, " draws"]) -> Estimate:
    """How often something happened, with Wilson's interval."""
    count = int(happened.sum())
    interval = stats.binomtest(count, len(happened)).proportion_ci(method="wilson")
    return Estimate(count / len(happened), float(interval.low), float(interval.high))


def average(values: Float[Tensor, " draws"]) -> Estimate:
    """The mean over draws, with Student's interval.

    Raises:
        ValueError: fewer than two draws.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} draw: an interval needs at least two")
    mean = float(values.mean())
    error = float(values.std(correction=1)) / len(values) ** 0.5
    reach = float(stats.t(df=len(values) - 1).ppf(0.975)) * error
    return Estimate(mean, mean - reach, mean + reach)


def spread(values: Sequence[float] | np.ndarray, digits: int = 1, factor: int = 100) -> str:
    """Mean and standard deviation over seeds, in percent unless told otherwise."""
    scaled = factor * np.asarray(values, dtype=float)
    deviation = scaled.std(ddof=1) if len(scaled) > 1 else 0.0
    return f"{scaled.mean():.{digits}f} ± {deviation:.{digits}f}"
