"""The plan and the reading of an A/B test of the click-through rate, and the checks before both.

The click-through rate (CTR) is a ratio of two sums over users, of clicks C_u and impressions I_u.
Users are assigned at random, so the user is the unit of the sample, and a user's impressions are
correlated: treating them as independent makes intervals too narrow. `linearize` turns the ratio
into a mean over users (the delta method), so that the usual formulas for means apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from mindlib.data.option_types import check_option
from mindlib.evaluation import Estimate

# A platform checks the sample ratio every day of every test, so 0.05 would raise too many alarms.
SAMPLE_RATIO_ALPHA = 0.001
Shape = Literal["pocock", "obrien-fleming"]
SIMULATED_TESTS = 200_000
PROBABILITY = (1e-6, 1 - 1e-6)


def linearize(
    clicks: Int[np.ndarray, " users"], impressions: Int[np.ndarray, " users"]
) -> Float[np.ndarray, " users"]:
    """Return r + (C_u - r I_u) / mean(I): a number for each user, whose mean is the CTR r.

    The variance of this mean over users is that of the CTR by the delta method.

    Raises:
        ValueError: there is no impression.
    """
    if not impressions.any():
        raise ValueError("no user has an impression: expected at least one")
    ctr = clicks.sum() / impressions.sum()
    return ctr + (clicks - ctr * impressions) / impressions.mean()


def difference(
    treatment: Float[np.ndarray, " users"], control: Float[np.ndarray, " others"]
) -> Estimate:
    """Estimate the difference of the means of two arms with different users (Welch)."""
    test = stats.ttest_ind(treatment, control, equal_var=False)
    interval = test.confidence_interval()
    value = float(treatment.mean() - control.mean())
    return Estimate(value, float(interval.low), float(interval.high), float(test.pvalue))  # pyright: ignore[reportAttributeAccessIssue]


def cuped(
    values: Float[np.ndarray, " users"], before: Float[np.ndarray, " users"]
) -> Float[np.ndarray, " users"]:
    """Subtract from each user's value what a covariate predicts (CUPED, Deng et al. 2013).

    The mean over all users stays, and the variance falls by the squared correlation.

    Args:
        values: of the users of all arms, who share one regression coefficient.
        before: the covariate, from a time before the experiment; one that the treatment can change
            takes away a part of the effect. One that is the same for all users changes nothing.
    """
    if before.min() == before.max():  # its mean may be rounded, so the sum below need not be 0
        return values
    centered = before - before.mean()
    return values - centered * float(values @ centered) / float(centered @ centered)


def minimum_detectable_effect(
    standard_error: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the true difference that a two-sided test of level alpha finds with that power.

    The standard error is that of the estimated difference.
    """
    check_option("alpha", alpha, float, PROBABILITY)
    check_option("power", power, float, PROBABILITY)
    return float(stats.norm.isf(alpha / 2) + stats.norm.ppf(power)) * standard_error


def sample_ratio(counts: Int[np.ndarray, " arms"], shares: Sequence[float]) -> float:
    """Test the arms' sizes against their intended shares (chi-square); return the p-value.

    Below `SAMPLE_RATIO_ALPHA`, something other than chance assigned users or lost some of them.
    """
    expected = np.asarray(shares) * counts.sum()
    return float(stats.chisquare(counts, expected).pvalue)


def half_scores(
    values: Float[np.ndarray, " users"], halves: Bool[np.ndarray, "tests users"]
) -> Float[np.ndarray, " tests"]:
    """Return the z-scores of A/A tests: users who had one arm, in two halves (True and False)."""
    means, variances = [], []
    for half in (halves.astype(np.float64), (~halves).astype(np.float64)):
        users = half.sum(1)
        if users.min() < 2:
            raise ValueError("one half has fewer than two users: expected at least two in each")
        means.append(half @ values / users)
        variances.append((half @ values**2 / users - means[-1] ** 2) / (users - 1))
    return (means[0] - means[1]) / np.sqrt(variances[0] + variances[1])


def stopping_bounds(
    information: Sequence[float],
    shape: Shape,
    *,
    alpha: float = 0.05,
    generator: np.random.Generator,
) -> Float[np.ndarray, " looks"]:
    """Compute the bound on |Z| at each look that keeps the level over all looks, by simulation.

    Stopping as soon as |Z| > 1.96 gives a week of daily looks seven chances of a false positive.
    Without a difference, the scores of the looks, over data that only grow, are those of a
    Brownian motion at the information fractions t_1 < ... < t_n = 1: Z_j = B(t_j) / sqrt(t_j).

    Args:
        information: the variance of the final estimate divided by that of the estimate at each
            look, rising to 1. It is day / days if as many users come every day and none returns;
            returning users add less.
        shape: "pocock" is constant; "obrien-fleming" falls as 1 / sqrt(t), so that the last look
            keeps nearly the level of a single one.

    Raises:
        ValueError: an unknown shape, alpha outside (0, 1), or fractions that do not rise to 1.
    """
    check_option("shape", shape, Shape)
    check_option("alpha", alpha, float, PROBABILITY)
    t = np.asarray(information, dtype=np.float64)
    steps = np.diff(t, prepend=0)
    if not len(t) or steps.min() <= 0 or not np.isclose(t[-1], 1):
        raise ValueError(f"information={tuple(information)}: expected fractions rising to 1")
    increments = np.sqrt(steps) * generator.standard_normal((SIMULATED_TESTS, len(t)))
    scores = np.abs(increments.cumsum(1) / np.sqrt(t))
    falling = 1 / np.sqrt(t) if shape == "obrien-fleming" else np.ones(len(t))
    return falling * np.quantile((scores / falling).max(1), 1 - alpha)
