"""Click-through rates with honest intervals, and the checks to make before believing them.

The click-through rate (CTR) is a ratio of two sums over users, of clicks C_u and impressions I_u.
Users are assigned at random, so the user is the unit of the sample. A user's impressions are
correlated, and treating them as independent makes intervals too narrow. The delta method gives the
variance of the ratio from the users' residuals C_u - CTR * I_u.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from mindlib.evaluation import Estimate, normal_estimate
from mindlib.online.simulation.week import Week

# A platform checks the sample ratio every day of every test, so 0.05 would raise too many alarms.
SAMPLE_RATIO_ALPHA = 0.001


def rate(clicks: Int[np.ndarray, " users"], impressions: Int[np.ndarray, " users"]) -> Estimate:
    """Estimate clicks over impressions, by the delta method over users.

    Raises:
        ValueError: fewer than two users have an impression.
    """
    visited = impressions > 0
    value, residuals = _ratio(clicks[visited], impressions[visited])
    return normal_estimate(value, _standard_error(residuals))


def impression_rate(
    clicks: Int[np.ndarray, " users"], impressions: Int[np.ndarray, " users"]
) -> Estimate:
    """Estimate the same as if impressions were independent: too narrow, shown beside `rate`."""
    n = int(impressions.sum())
    value = float(clicks.sum() / n)
    return normal_estimate(value, float(np.sqrt(value * (1 - value) / n)))


def difference(
    clicks: Int[np.ndarray, "two users"],
    impressions: Int[np.ndarray, "two users"],
    *,
    paired: bool,
) -> Estimate:
    """Estimate the first row's rate minus the second row's.

    Args:
        paired: both rows are about the same users, which only a simulation can arrange: what the
            rows share cancels. In an A/B test a user has impressions in one row only.

    Raises:
        ValueError: fewer than two users have an impression in a row.
    """
    # A user without an impression must not count as an observation.
    kept = [impressions.any(0)] * 2 if paired else impressions > 0
    (first, a), (second, b) = (
        _ratio(c[k], i[k]) for c, i, k in zip(clicks, impressions, kept, strict=True)
    )
    error = _standard_error(a - b) if paired else np.hypot(_standard_error(a), _standard_error(b))
    return normal_estimate(first - second, float(error))


def ctr(week: Week, arm: int) -> Estimate:
    """Estimate the CTR of an arm over the whole week."""
    return rate(week.clicks[arm].sum(0), week.impressions[arm].sum(0))


def ctr_by_day(week: Week, arm: int) -> list[Estimate]:
    """Estimate the CTR of an arm on each day."""
    return [rate(c, i) for c, i in zip(week.clicks[arm], week.impressions[arm], strict=True)]


def lift(week: Week, arm: int, base: int) -> Estimate:
    """Estimate an arm's CTR minus the base's over the week, paired if both have the same users."""
    both = [arm, base]
    paired = bool((week.members[arm] == week.members[base]).all())
    return difference(week.clicks[both].sum(1), week.impressions[both].sum(1), paired=paired)


def searches_per_request(week: Week, arm: int) -> float:
    """Return an arm's serving cost: index searches per request."""
    return float(week.searches[arm].sum() / week.requests[arm].sum())


def sample_ratio(counts: Int[np.ndarray, " arms"], shares: Sequence[float]) -> float:
    """Test the arms' sizes against their intended shares (chi-square); return the p-value.

    Below `SAMPLE_RATIO_ALPHA`, something other than chance assigned users or lost some of them, and
    no other number of the test can be trusted.
    """
    expected = np.asarray(shares) * counts.sum()
    return float(stats.chisquare(counts, expected).pvalue)


def a_over_a(
    clicks: Int[np.ndarray, " users"],
    impressions: Int[np.ndarray, " users"],
    halves: Bool[np.ndarray, "tests users"],
) -> Float[np.ndarray, " tests"]:
    """Return p-values of A/A tests: users of one arm, split at random as if they had two arms.

    If the method is sound, the p-values are uniform: 5 % are below 0.05.

    Args:
        halves: which users are in the first half, for each test.
    """
    return 2 * stats.norm.sf(np.abs(_half_scores(clicks, impressions, halves)))


def daily_looks(
    week: Week, arm: int, halves: Bool[np.ndarray, "tests users"]
) -> Float[np.ndarray, "tests days"]:
    """Return the z-score of each A/A test at the end of each day, over all data until then."""
    until = zip(week.clicks[arm].cumsum(0), week.impressions[arm].cumsum(0), strict=True)
    return np.stack([_half_scores(*counts, halves) for counts in until], axis=1)


def _half_scores(
    clicks: Int[np.ndarray, " users"],
    impressions: Int[np.ndarray, " users"],
    halves: Bool[np.ndarray, "tests users"],
) -> Float[np.ndarray, " tests"]:
    """Return the difference of the halves' rates over its standard error, for each test."""
    visited = impressions > 0
    c, i = clicks[visited].astype(np.float64), impressions[visited].astype(np.float64)
    values, variances = [], []
    for half in (halves[:, visited].astype(np.float64), (~halves[:, visited]).astype(np.float64)):
        users, clicked, seen = half.sum(1), half @ c, half @ i
        if users.min() < 2:
            raise ValueError(
                "one half has fewer than two users: expected at least two in each; simulate more "
                "users, or split them more evenly"
            )
        ratio = clicked / seen
        squares = half @ c**2 - 2 * ratio * (half @ (c * i)) + ratio**2 * (half @ i**2)
        values.append(ratio)
        variances.append(squares / seen**2 * users / (users - 1))
    return (values[0] - values[1]) / np.sqrt(variances[0] + variances[1])


def _ratio(
    clicks: Int[np.ndarray, " users"], impressions: Int[np.ndarray, " users"]
) -> tuple[float, Float[np.ndarray, " users"]]:
    """Return the ratio and each user's residual, divided by all impressions."""
    if (visitors := int((impressions > 0).sum())) < 2:
        raise ValueError(
            f"{visitors} users have an impression: expected at least two for an interval over users"
        )
    seen = impressions.sum()
    value = float(clicks.sum() / seen)
    return value, (clicks - value * impressions) / seen


def _standard_error(residuals: Float[np.ndarray, " users"]) -> float:
    """Return the standard error of a sum of residuals that add up to zero."""
    n = len(residuals)
    return float(np.sqrt(n / (n - 1) * np.square(residuals).sum()))
