"""Confidence intervals of estimates, and the rule that decides whether a claim holds.

All intervals are 95 % confidence intervals, computed by SciPy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

Verdict = Literal["holds here", "reversed here", "inconclusive"]


@dataclass(frozen=True)
class Estimate:
    """A number estimated from a sample, with its 95 % confidence interval.

    Attributes:
        value: the estimate.
        low, high: the ends of the interval.
        p_value: the p-value of the two-sided test against 0; NaN if no test was made.
    """

    value: float
    low: float
    high: float
    p_value: float = math.nan

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def __neg__(self) -> Estimate:
        return Estimate(-self.value, -self.high, -self.low, self.p_value)

    def percent(self, digits: int = 0) -> str:
        """Format a share and its interval in percent."""
        return f"{self.value:.{digits}%} ({self.low:.{digits}%} to {self.high:.{digits}%})"

    def points(self) -> str:
        """Format a difference of shares and its interval in percentage points, with signs."""
        return f"{100 * self.value:+.2f} [{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


def mean_estimate(values: Float[Tensor, " sample"] | Float[np.ndarray, " sample"]) -> Estimate:
    """Estimate the mean of a sample, with Student's t interval.

    Raises:
        ValueError: fewer than two values.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        raise ValueError(f"{len(sample)} values: expected at least two to estimate a variance")
    return _student(float(sample.mean()), float(stats.sem(sample)), len(sample) - 1)


def compare(a: Float[Tensor, " cases"], b: Float[Tensor, " cases"]) -> Estimate:
    """Estimate the mean of a - b over the same cases (paired t-test).

    The interval covers the sampling of cases, not the retraining of models (see `compare_seeds`).

    Raises:
        ValueError: the two have different lengths, or fewer than two cases.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(
            f"{len(a)} and {len(b)} cases: expected the same cases for both, at least two"
        )
    return mean_estimate(a.double() - b.double())


def holm(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Return p-values adjusted for the number of tests (Holm 1979).

    Comparing them with alpha limits the probability of any false positive to alpha.
    """
    order, tests = np.argsort(p_values), len(p_values)
    adjusted = np.maximum.accumulate(p_values[order] * np.arange(tests, 0, -1))
    return np.minimum(adjusted, 1)[np.argsort(order)]


def compare_seeds(a: Float[Tensor, "seeds_a cases"], b: Float[Tensor, "seeds_b cases"]) -> Estimate:
    """Estimate the mean of a - b over the same cases and over the training runs of two models.

    The squared standard error is the sum of three: that of the mean over cases of the difference
    between the averages over seeds, and those of the two means over seeds. The degrees of freedom
    of Student's t are Satterthwaite's. A model with one seed is taken as fixed.

    Raises:
        ValueError: the two have different cases, or fewer than two.
    """
    a, b = a.double(), b.double()
    value = compare(a.mean(0), b.mean(0)).value
    samples = [a.mean(0) - b.mean(0), *(runs.mean(1) for runs in (a, b) if len(runs) > 1)]
    squares = [float(sample.var()) / len(sample) for sample in samples]
    error = math.sqrt(sum(squares))
    parts = zip(squares, samples, strict=True)
    divisor = sum(square**2 / (len(sample) - 1) for square, sample in parts)
    return _student(value, error, error**4 / divisor if divisor else math.inf)


def trend(
    gain: Float[np.ndarray, " users"],
    x: Float[np.ndarray, " users"],
    strata: Int[np.ndarray, " users"],
) -> Estimate:
    """Estimate the change of the gain for each unit of x among the users of one stratum.

    Least squares with an intercept for each stratum, and a standard error that allows for a
    variance that differs between users (White 1980).

    Raises:
        ValueError: in each stratum, all users have the same x.
    """
    sizes = np.bincount(strata)
    total = float(x @ x)
    x, gain = (v - (np.bincount(strata, v) / sizes.clip(1))[strata] for v in (x, gain))
    square = float(x @ x)
    if square <= 1e-20 * total:  # not 0 because of rounding
        raise ValueError("x is the same for all users of each stratum: there is no trend")
    slope = float(x @ gain) / square
    error = float(np.linalg.norm(x * (gain - slope * x))) / square
    return _student(slope, error, math.inf)


def share_estimate(happened: Bool[Tensor, " sample"]) -> Estimate:
    """Estimate a probability from the share of True values, with Wilson's interval."""
    count = int(happened.sum())
    interval = stats.binomtest(count, len(happened)).proportion_ci(method="wilson")
    return Estimate(count / len(happened), float(interval.low), float(interval.high))


def _student(value: float, error: float, freedom: int | float) -> Estimate:
    """Make an estimate with Student's t, which is normal with infinite degrees of freedom."""
    if not error:  # the test statistic would be 0 / 0
        return Estimate(value, value, value, float(value == 0))
    low, high = stats.t.interval(0.95, freedom, loc=value, scale=error)
    p_value = 2 * stats.t.sf(abs(value) / error, freedom)
    return Estimate(value, float(low), float(high), float(p_value))


def verdict(difference: Estimate, margin: float | None = None) -> Verdict:
    """Decide from the interval of a difference whether a claim about it holds.

    Args:
        difference: the estimated difference, first model of the claim minus second.
        margin: None for the claim that the difference is positive; otherwise the claim is that it
            lies within ± margin.
    """
    low, high = difference.low, difference.high
    if margin is None:
        return "holds here" if low > 0 else "reversed here" if high < 0 else "inconclusive"
    if -margin <= low and high <= margin:
        return "holds here"
    return "reversed here" if low > margin or high < -margin else "inconclusive"
