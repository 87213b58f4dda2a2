"""What a week of counts says: CTR with honest intervals, and the checks before believing it.

CTR is a ratio of two sums over users, of clicks C_u and impressions I_u. Users are what the hash
divides at random, so users are the sample; a user's impressions are alike (her interests, her
readiness, her model), and counting them as independent makes intervals too narrow. The delta
method gives the variance of the ratio from the users' residuals C_u - CTR * I_u.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from mindlib.online.simulation.week import Week

Z = float(stats.norm.ppf(0.975))
# An A/B platform looks at sample ratios every day of every test: 0.05 would cry wolf.
MISMATCH = 0.001


class Rate(NamedTuple):
    """A ratio over users with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2%} ({self.low:.2%} to {self.high:.2%})"


class Difference(NamedTuple):
    """One arm's rate less another's, with its 95 % interval and two-sided p-value."""

    value: float
    low: float
    high: float
    p_value: float


def rate(clicks: Int[np.ndarray, " users"], impressions: Int[np.ndarray, " users"]) -> Rate:
    """Clicks over impressions, by the delta method over users.

    Raises:
        ValueError: fewer than two users with an impression.
    """
    there = impressions > 0
    value, residuals = _ratio(clicks[there], impressions[there])
    reach = Z * _error(residuals)
    return Rate(value, value - reach, value + reach)


def impression_rate(
    clicks: Int[np.ndarray, " users"], impressions: Int[np.ndarray, " users"]
) -> Rate:
    """The same with impressions taken for independent: too narrow, to be shown beside `rate`."""
    n = int(impressions.sum())
    value = float(clicks.sum() / n)
    reach = Z * float(np.sqrt(value * (1 - value) / n))
    return Rate(value, value - reach, value + reach)


def difference(
    clicks: Int[np.ndarray, "two users"],
    impressions: Int[np.ndarray, "two users"],
    *,
    paired: bool,
) -> Difference:
    """The first row's rate less the second's.

    Args:
        paired: both rows are about the same users, which only a simulation can have: what they
            share then cancels. In an A/B test a user has impressions in one row only.

    Raises:
        ValueError: fewer than two users with an impression in a row.
    """
    if paired:  # a user who is in neither row adds nothing but must not count as one
        there = impressions.any(0)
        clicks, impressions = clicks[:, there], impressions[:, there]
        (first, a), (second, b) = (_ratio(*row) for row in zip(clicks, impressions, strict=True))
        error = _error(a - b)
    else:
        kept = [i > 0 for i in impressions]
        (first, a), (second, b) = (
            _ratio(c[k], i[k]) for c, i, k in zip(clicks, impressions, kept, strict=True)
        )
        error = float(np.hypot(_error(a), _error(b)))
    value = first - second
    if error == 0:
        return Difference(value, value, value, float(value == 0))
    p_value = float(2 * stats.norm.sf(abs(value) / error))
    return Difference(value, value - Z * error, value + Z * error, p_value)


def ctr(week: Week, arm: int) -> Rate:
    """The CTR of an arm over the whole week."""
    return rate(week.clicks[arm].sum(0), week.impressions[arm].sum(0))


def ctr_by_day(week: Week, arm: int) -> list[Rate]:
    """The CTR of an arm on each day."""
    return [rate(c, i) for c, i in zip(week.clicks[arm], week.impressions[arm], strict=True)]


def lift(week: Week, arm: int, base: int) -> Difference:
    """The CTR of an arm less that of another over the whole week, paired if the users are."""
    both = [arm, base]
    paired = bool((week.members[arm] == week.members[base]).all())
    return difference(week.clicks[both].sum(1), week.impressions[both].sum(1), paired=paired)


def searches_per_request(week: Week, arm: int) -> float:
    """What an arm costs: searches of the index for each page."""
    return float(week.searches[arm].sum() / week.requests[arm].sum())


def sample_ratio(counts: Int[np.ndarray, " arms"], shares: Sequence[float]) -> float:
    """The p-value of the arms' sizes under the shares they should have (chi-square).

    Below `MISMATCH` something else than chance divided the users, or lost some of them: then no
    other number of the test means anything.
    """
    expected = np.asarray(shares) * counts.sum()
    return float(stats.chisquare(counts, expected).pvalue)


def a_over_a(
    clicks: Int[np.ndarray, " users"],
    impressions: Int[np.ndarray, " users"],
    halves: Bool[np.ndarray, "tests users"],
) -> Float[np.ndarray, " tests"]:
    """p-values of A/A tests: users who all had the same arm, divided as if they had had two.

    If the method is sound they are uniform: 5 % below 0.05, 50 % below 0.5.

    Args:
        halves: who is in the first half, for each test.
    """
    return 2 * stats.norm.sf(np.abs(a_over_a_scores(clicks, impressions, halves)))


def a_over_a_scores(
    clicks: Int[np.ndarray, " users"],
    impressions: Int[np.ndarray, " users"],
    halves: Bool[np.ndarray, "tests users"],
) -> Float[np.ndarray, " tests"]:
    """The difference of the halves' rates over its standard error, for each test."""
    there = impressions > 0
    c, i = clicks[there].astype(np.float64), impressions[there].astype(np.float64)
    values, variances = [], []
    for half in (halves[:, there].astype(np.float64), (~halves[:, there]).astype(np.float64)):
        users, clicked, seen = half.sum(1), half @ c, half @ i
        if users.min() < 2:
            raise ValueError("a half has fewer than two users; give more users, or fairer halves")
        ratio = clicked / seen
        squares = half @ c**2 - 2 * ratio * (half @ (c * i)) + ratio**2 * (half @ i**2)
        values.append(ratio)
        variances.append(squares / seen**2 * users / (users - 1))
    return (values[0] - values[1]) / np.sqrt(variances[0] + variances[1])


def daily_looks(
    week: Week, arm: int, halves: Bool[np.ndarray, "tests users"]
) -> Float[np.ndarray, "tests days"]:
    """The score of each A/A test as it stands each evening, over all that came until then."""
    until = zip(week.clicks[arm].cumsum(0), week.impressions[arm].cumsum(0), strict=True)
    return np.stack([a_over_a_scores(*counts, halves) for counts in until], axis=1)


def _ratio(
    clicks: Int[np.ndarray, " users"], impressions: Int[np.ndarray, " users"]
) -> tuple[float, Float[np.ndarray, " users"]]:
    """The ratio, and what each user adds to its error."""
    seen = impressions.sum()
    if (impressions > 0).sum() < 2:
        raise ValueError(
            f"{int((impressions > 0).sum())} users with an impression: an interval over users "
            f"needs at least two"
        )
    value = float(clicks.sum() / seen)
    return value, (clicks - value * impressions) / seen


def _error(residuals: Float[np.ndarray, " users"]) -> float:
    """The standard error of the sum of residuals, whose own sum is zero."""
    n = len(residuals)
    return float(np.sqrt(n / (n - 1) * np.square(residuals).sum()))
