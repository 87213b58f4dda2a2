"""Intervals cover what they promise when a user's impressions are alike; plans are kept."""

import numpy as np
import pytest
from scipy import stats

from mindlib.online.simulation import (
    SAMPLE_RATIO_ALPHA,
    cuped,
    difference,
    half_scores,
    linearize,
    minimum_detectable_effect,
    sample_ratio,
)

TRUTH = 0.04


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def users(n: int, generator: np.random.Generator, *, scale: float = 1.0):
    """Users who differ in how often they come and in how readily they click."""
    impressions = 20 * generator.binomial(7, generator.beta(2, 2, n))
    readiness = generator.gamma(1.0, 1.0, n)
    clicks = generator.binomial(impressions, np.minimum(1, TRUTH * scale * readiness))
    return clicks, impressions


def even(p_values: np.ndarray) -> bool:
    return stats.kstest(p_values, "uniform")[1] > 1e-3


def test_the_mean_is_clicks_over_impressions_and_intervals_cover_the_truth():
    generator = np.random.default_rng(0)
    covered = {"users": 0, "impressions": 0}
    for _ in range(1000):
        clicks, impressions = users(300, generator)
        values = linearize(clicks, impressions)
        ctr = clicks.sum() / impressions.sum()
        assert values.mean() == pytest.approx(ctr)
        naive = np.sqrt(ctr * (1 - ctr) / impressions.sum())
        for unit, error in (("users", standard_error(values)), ("impressions", naive)):
            covered[unit] += abs(ctr - TRUTH) < 1.96 * error
    assert 930 <= covered["users"] <= 970
    assert covered["impressions"] < 800, "a user's impressions are no independent ones"


def test_users_who_did_not_come_change_nothing():
    clicks, impressions = users(100, np.random.default_rng(1))
    absent = np.zeros(1000, dtype=np.int64)
    values = linearize(clicks, impressions)
    more = linearize(np.r_[clicks, absent], np.r_[impressions, absent])
    assert more.mean() == pytest.approx(values.mean())
    assert standard_error(more) == pytest.approx(standard_error(values), rel=0.01)
    with pytest.raises(ValueError, match="no user has an impression"):
        linearize(absent, absent)


def test_differences_of_nothing_have_even_p_values_and_cover_zero():
    generator = np.random.default_rng(2)
    found = [
        difference(linearize(*users(200, generator)), linearize(*users(200, generator)))
        for _ in range(1000)
    ]
    assert even(np.array([d.p_value for d in found]))
    assert 930 <= sum(d.low < 0 < d.high for d in found) <= 970


def test_a_difference_that_is_there_is_found():
    generator = np.random.default_rng(3)
    more, control = users(4000, generator, scale=1.3), users(4000, generator)
    found = difference(linearize(*more), linearize(*control))
    assert found.p_value < 1e-6
    assert found.low < 0.3 * TRUTH < found.high


def test_a_planned_effect_is_found_as_often_as_planned():
    generator = np.random.default_rng(4)
    error = standard_error(linearize(*users(100_000, generator))) * np.sqrt(2 * 100_000 / 2000)
    effect = minimum_detectable_effect(float(error))
    found = [
        difference(
            linearize(*users(2000, generator, scale=1 + effect / TRUTH)),
            linearize(*users(2000, generator)),
        )
        for _ in range(400)
    ]
    assert 0.72 < np.mean([d.p_value < 0.05 for d in found]) < 0.88
    with pytest.raises(ValueError, match="alpha=0"):
        minimum_detectable_effect(1.0, alpha=0.0)
    with pytest.raises(ValueError, match="power=1"):
        minimum_detectable_effect(1.0, power=1.0)


def test_a_covariate_reduces_the_variance_by_its_squared_correlation():
    generator = np.random.default_rng(5)
    before = generator.normal(size=20_000)
    values = 0.04 + 0.6 * before + 0.8 * generator.normal(size=20_000)
    adjusted = cuped(values, before)
    assert adjusted.mean() == pytest.approx(values.mean())
    correlation = np.corrcoef(values, before)[0, 1]
    assert adjusted.var() / values.var() == pytest.approx(1 - correlation**2)
    treated = generator.random(20_000) < 0.5
    lifted = cuped(values + 0.1 * treated, before)
    found = difference(lifted[treated], lifted[~treated])
    assert found.low < 0.1 < found.high


def test_cuped_leaves_the_values_if_the_covariate_is_the_same_for_all_users():
    values = np.array([0.0, 1.0, 0.5])
    assert cuped(values, np.full(3, 0.1)).tolist() == values.tolist()


def test_a_half_of_nobody_is_refused():
    values = linearize(*users(20, np.random.default_rng(8)))
    with pytest.raises(ValueError, match="fewer than two users"):
        half_scores(values, np.zeros((1, 20), dtype=bool))


def test_a_over_a_is_the_difference_of_the_halves_and_even():
    generator = np.random.default_rng(7)
    values = linearize(*users(2000, generator))
    halves = generator.random((1000, 2000)) < 0.5
    scores = half_scores(values, halves)
    assert even(2 * stats.norm.sf(np.abs(scores)))
    expected = difference(values[halves[0]], values[~halves[0]])
    assert 2 * stats.norm.sf(abs(scores[0])) == pytest.approx(expected.p_value, rel=0.05)


def test_a_fair_division_is_no_mismatch_and_lost_users_are_one():
    generator = np.random.default_rng(9)
    shares = (0.5, 0.3, 0.2)
    fair = np.array([sample_ratio(generator.multinomial(9000, shares), shares) for _ in range(500)])
    assert even(fair)
    assert (fair < SAMPLE_RATIO_ALPHA).sum() <= 4
    lost = np.array([4500, 2700, 1800]) - [450, 0, 0]
    assert sample_ratio(lost, shares) < SAMPLE_RATIO_ALPHA
