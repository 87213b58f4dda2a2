"""Intervals are the textbook's, and cover the truth as often as they say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.evaluation import (
    Estimate,
    compare,
    compare_seeds,
    holm,
    mean_estimate,
    share_estimate,
    trend,
    verdict,
)

MARGIN = 0.01
RNG = np.random.default_rng(0)


def test_share_has_wilsons_interval():
    estimate = share_estimate(torch.tensor([True] * 30 + [False] * 70))
    z, n, p = 1.959964, 100, 0.3
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    ends = (estimate.value, estimate.low, estimate.high)
    assert ends == pytest.approx((0.3, middle - reach, middle + reach), abs=1e-5)
    assert estimate.percent() == "30% (22% to 40%)"


def test_average_has_students_interval():
    estimate = mean_estimate(torch.tensor([1.0, 2.0, 3.0]))
    reach = 4.302653 / math.sqrt(3)  # deviation 1, two degrees of freedom
    ends = (estimate.value, estimate.low, estimate.high)
    assert ends == pytest.approx((2.0, 2 - reach, 2 + reach), abs=1e-5)
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.50 (0.25 to 0.75)"
    with pytest.raises(ValueError, match="1 values: expected at least two"):
        mean_estimate(torch.ones(1))


def test_an_interval_covers_the_truth_about_95_times_in_a_hundred():
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(400):
        estimate = mean_estimate(torch.randn(20, generator=generator))
        hits += estimate.low <= 0 <= estimate.high
    assert 0.92 <= hits / 400 <= 0.98


def test_the_paired_test_finds_a_difference_and_no_difference():
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(2000, generator=generator, dtype=torch.float64)
    noise = 0.1 * torch.randn(2000, generator=generator, dtype=torch.float64)
    better = compare(base + 0.02 + noise, base)
    assert better.low < 0.02 < better.high
    assert better.p_value < 1e-6
    assert compare(base + noise - noise.mean(), base).p_value > 0.9
    assert compare(base, base) == Estimate(0.0, 0.0, 0.0, 1.0)


def test_an_interval_over_seeds_covers_what_training_again_changes():
    """Every training run of a model moves all its cases by about three standard errors."""
    generator = torch.Generator().manual_seed(0)
    covers = {compare_seeds: 0, compare: 0}
    for _ in range(300):
        a, b = (
            torch.randn(300, generator=generator)
            + 0.2 * torch.randn(3, 1, generator=generator)
            + torch.randn(3, 300, generator=generator)
            for _ in range(2)
        )
        for method, values in {compare_seeds: (a, b), compare: (a.mean(0), b.mean(0))}.items():
            found = method(*values)
            covers[method] += found.low <= 0 <= found.high
    assert 0.92 <= covers[compare_seeds] / 300 <= 0.99
    assert covers[compare] / 300 < 0.85


def test_without_a_second_seed_the_comparison_over_seeds_is_the_paired_test():
    a, b = torch.randn(2, 50, generator=torch.Generator().manual_seed(0)).double()
    one, other = compare_seeds(a[None], b[None]), compare(a, b)
    assert (one.value, one.low, one.high, one.p_value) == pytest.approx(
        (other.value, other.low, other.high, other.p_value)
    )
    assert compare_seeds(a[None], a[None]) == Estimate(0.0, 0.0, 0.0, 1.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_its_steps_reject(p_values):
    tests = np.array(p_values)
    adjusted = holm(tests)
    assert (adjusted >= tests).all()
    order = np.argsort(tests)
    rejected = np.zeros(len(tests), dtype=bool)
    for step, test in enumerate(order):  # Holm's procedure as it is usually told
        if tests[test] * (len(tests) - step) > 0.05:
            break
        rejected[test] = True
    assert (adjusted <= 0.05).tolist() == rejected.tolist()


def test_a_paired_test_needs_two_cases():
    with pytest.raises(ValueError, match="1 and 1 cases: expected the same cases"):
        compare(torch.ones(1), torch.ones(1))


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.001, 0.02, "holds here"), (-0.02, -0.001, "reversed here"), (-0.001, 0.02, "inconclusive")],
)
def test_more_holds_where_the_whole_interval_is_above_zero(low, high, word):
    assert verdict(Estimate((low + high) / 2, low, high, 0.5)) == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-MARGIN / 2, MARGIN / 2, "holds here"),
        (-MARGIN / 2, 2 * MARGIN, "inconclusive"),
        (2 * MARGIN, 3 * MARGIN, "reversed here"),
        (-3 * MARGIN, -2 * MARGIN, "reversed here"),
        (-3 * MARGIN, 3 * MARGIN, "inconclusive"),
    ],
)
def test_alike_needs_a_narrow_interval_and_not_merely_one_with_zero(low, high, word):
    assert verdict(Estimate((low + high) / 2, low, high, 0.5), MARGIN) == word


def test_without_strata_the_trend_is_the_slope_of_a_line():
    x = RNG.normal(size=200)
    gain = 0.3 * x + RNG.normal(size=200)
    found = trend(gain, x, np.zeros(200, dtype=np.int64))
    assert found.value == pytest.approx(np.polyfit(x, gain, 1)[0])
    assert found.low < 0.3 < found.high


def test_a_trend_between_strata_is_no_trend_within_them():
    strata = RNG.integers(0, 20, 4000)
    x = strata + RNG.normal(size=4000)
    gain = 0.5 * strata + RNG.normal(size=4000)
    assert trend(gain, x, strata).value == pytest.approx(0, abs=0.06)
    assert trend(gain, x, np.zeros(4000, dtype=np.int64)).value > 0.4


def test_without_a_difference_within_strata_there_is_no_trend():
    strata = np.arange(60) % 3
    for x in (np.log2(3.0 + strata), np.zeros(60)):
        with pytest.raises(ValueError, match="x is the same for all users of each stratum"):
            trend(RNG.normal(size=60), x, strata)


def test_the_interval_covers_the_slope_when_the_variance_differs_between_users():
    covered = 0
    for _ in range(400):
        x = RNG.normal(size=300)
        found = trend(0.2 * x + x * RNG.normal(size=300), x, RNG.integers(0, 3, 300))
        covered += found.low < 0.2 < found.high
    assert 0.9 < covered / 400 < 0.98
