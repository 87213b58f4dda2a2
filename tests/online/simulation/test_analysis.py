"""Intervals cover what they promise when a user's impressions are alike, and p-values are even."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mindlib.evaluation import Estimate
from mindlib.online.simulation import (
    SAMPLE_RATIO_ALPHA,
    Week,
    a_over_a,
    ctr,
    ctr_by_day,
    daily_looks,
    impression_rate,
    lift,
    rate,
    sample_ratio,
    searches_per_request,
)
from mindlib.online.simulation.analysis import difference

TRUTH = 0.04


def users(n: int, generator: np.random.Generator, *, scale: float = 1.0):
    """Users who differ in how often they come and in how readily they click."""
    impressions = 20 * generator.binomial(7, generator.beta(2, 2, n))
    readiness = generator.gamma(1.0, 1.0, n)
    clicks = generator.binomial(impressions, np.minimum(1, TRUTH * scale * readiness))
    return clicks, impressions


def even(p_values: np.ndarray) -> bool:
    return stats.kstest(p_values, "uniform")[1] > 1e-3


def test_intervals_cover_the_truth_nineteen_times_in_twenty():
    generator = np.random.default_rng(0)
    covered = {rate: 0, impression_rate: 0}
    for _ in range(1000):
        clicks, impressions = users(300, generator)
        for method in covered:
            found = method(clicks, impressions)
            covered[method] += found.low < TRUTH < found.high
    assert 930 <= covered[rate] <= 970
    assert covered[impression_rate] < 800, "a user's impressions are no independent ones"


def test_a_rate_is_clicks_over_impressions_whoever_did_not_come():
    clicks, impressions = users(100, np.random.default_rng(1))
    found = rate(clicks, impressions)
    assert found.value == pytest.approx(clicks.sum() / impressions.sum())
    absent = np.zeros(1000, dtype=np.int64)
    assert rate(np.r_[clicks, absent], np.r_[impressions, absent]) == found


def test_differences_of_nothing_have_even_p_values_and_cover_zero():
    generator = np.random.default_rng(2)
    found = []
    for _ in range(1000):
        (c, i), (d, j) = users(200, generator), users(200, generator)
        none = np.zeros(200, dtype=np.int64)
        both = (
            np.stack([np.r_[c, none], np.r_[none, d]]),
            np.stack([np.r_[i, none], np.r_[none, j]]),
        )
        found.append(difference(*both, paired=False))
    assert even(np.array([d.p_value for d in found]))
    assert 930 <= sum(d.low < 0 < d.high for d in found) <= 970


def test_a_difference_that_is_there_is_found():
    generator = np.random.default_rng(3)
    (c, i), (d, j) = users(4000, generator, scale=1.3), users(4000, generator)
    found = difference(np.stack([c, d]), np.stack([i, j]), paired=False)
    assert found.p_value < 1e-6
    assert found.low < 0.3 * TRUTH < found.high
    turned = difference(np.stack([d, c]), np.stack([j, i]), paired=False)
    assert turned.value == -found.value
    assert turned.p_value == found.p_value


def test_pairs_cancel_what_they_share():
    generator = np.random.default_rng(4)
    paired, unpaired, covered = [], [], 0
    for _ in range(400):
        clicks, impressions = users(300, generator)
        fewer = generator.binomial(clicks, 0.9)
        both = np.stack([clicks, fewer]), np.stack([impressions, impressions])
        one, other = (difference(*both, paired=p) for p in (True, False))
        paired.append(one.high - one.low)
        unpaired.append(other.high - other.low)
        covered += one.low < 0.1 * TRUTH < one.high
    assert np.mean(paired) < 0.5 * np.mean(unpaired)
    assert 365 <= covered <= 392


def test_the_same_twice_does_not_differ():
    clicks, impressions = users(50, np.random.default_rng(5))
    both = np.stack([clicks, clicks]), np.stack([impressions, impressions])
    assert difference(*both, paired=True) == Estimate(0.0, 0.0, 0.0, 1.0)


def test_a_over_a_is_the_difference_of_the_halves():
    generator = np.random.default_rng(6)
    clicks, impressions = users(200, generator)
    halves = generator.random((5, 200)) < 0.5
    for half, p_value in zip(halves, a_over_a(clicks, impressions, halves), strict=True):
        split = np.stack([half, ~half])
        expected = difference(clicks * split, impressions * split, paired=False)
        assert p_value == pytest.approx(expected.p_value)


def test_a_over_a_has_even_p_values():
    generator = np.random.default_rng(7)
    clicks, impressions = users(2000, generator)
    assert even(a_over_a(clicks, impressions, generator.random((1000, 2000)) < 0.5))


def test_a_half_of_nobody_is_refused():
    clicks, impressions = users(20, np.random.default_rng(8))
    with pytest.raises(ValueError, match="fewer than two users"):
        a_over_a(clicks, impressions, np.zeros((1, 20), dtype=bool))
    with pytest.raises(ValueError, match="1 users have an impression"):
        rate(np.array([1, 0]), np.array([5, 0]))


def test_a_fair_division_is_no_mismatch_and_lost_users_are_one():
    generator = np.random.default_rng(9)
    shares = (0.5, 0.3, 0.2)
    fair = np.array([sample_ratio(generator.multinomial(9000, shares), shares) for _ in range(500)])
    assert even(fair)
    assert (fair < SAMPLE_RATIO_ALPHA).sum() <= 4
    lost = np.array([4500, 2700, 1800]) - [450, 0, 0]
    assert sample_ratio(lost, shares) < SAMPLE_RATIO_ALPHA


@given(st.permutations(range(6)))
def test_the_order_of_users_does_not_matter(order):
    clicks, impressions = np.array([1, 0, 3, 2, 0, 1]), np.array([20, 20, 60, 40, 80, 20])
    places = np.array(order)
    shuffled, ordered = rate(clicks[places], impressions[places]), rate(clicks, impressions)
    assert shuffled.low == pytest.approx(ordered.low)
    assert shuffled.high == pytest.approx(ordered.high)


def week(members: np.ndarray, generator: np.random.Generator) -> Week:
    impressions = 20 * (generator.random((2, 3, members.shape[1])) < 0.7) * members[:, None]
    clicks = generator.binomial(impressions, [[[0.08]], [[0.04]]])
    requests = impressions > 0
    return Week(("a", "b"), members, impressions, clicks, requests * np.array([[[1]], [[4]]]))


def test_a_week_by_arm_and_day():
    generator = np.random.default_rng(10)
    members = np.zeros((2, 601), dtype=bool)
    members[0, 1:301] = members[1, 301:] = True
    counted = week(members, generator)
    assert ctr(counted, 1).value == pytest.approx(
        counted.clicks[1].sum() / counted.impressions[1].sum()
    )
    for day, found in enumerate(ctr_by_day(counted, 0)):
        assert found == rate(counted.clicks[0, day], counted.impressions[0, day])
    assert searches_per_request(counted, 1) == 4
    found = lift(counted, 0, 1)
    first, second = (r.high - r.value for r in (ctr(counted, 0), ctr(counted, 1)))
    apart = np.hypot(first, second)
    assert found.value == pytest.approx(ctr(counted, 0).value - ctr(counted, 1).value)
    assert found.high - found.value == pytest.approx(apart)


def test_a_lift_of_the_same_users_is_paired():
    members = np.ones((2, 301), dtype=bool)
    members[:, 0] = False
    counted = week(members, np.random.default_rng(11))
    expected = difference(counted.clicks.sum(1), counted.impressions.sum(1), paired=True)
    assert lift(counted, 0, 1) == expected


def test_daily_looks_end_at_the_whole_week():
    generator = np.random.default_rng(12)
    members = np.ones((2, 301), dtype=bool)
    counted = week(members, generator)
    halves = generator.random((50, 301)) < 0.5
    looks = daily_looks(counted, 0, halves)
    assert looks.shape == (50, 3)
    whole = a_over_a(counted.clicks[0].sum(0), counted.impressions[0].sum(0), halves)
    np.testing.assert_allclose(2 * stats.norm.sf(np.abs(looks[:, -1])), whole)
    first = a_over_a(counted.clicks[0, 0], counted.impressions[0, 0], halves)
    np.testing.assert_allclose(2 * stats.norm.sf(np.abs(looks[:, 0])), first)
