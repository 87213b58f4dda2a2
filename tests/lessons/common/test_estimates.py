"""Intervals are the textbook's, and cover the truth as often as they say."""

import math

import pytest
import torch

from mindlib.lessons.common.estimates import Estimate, average, share


def test_share_has_wilsons_interval():
    estimate = share(torch.tensor([True] * 30 + [False] * 70))
    z, n, p = 1.959964, 100, 0.3
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert estimate == pytest.approx((0.3, middle - reach, middle + reach), abs=1e-5)
    assert estimate.percent() == "30% (22% to 40%)"


def test_average_has_students_interval():
    estimate = average(torch.tensor([1.0, 2.0, 3.0]))
    reach = 4.302653 / math.sqrt(3)  # deviation 1, two degrees of freedom
    assert estimate == pytest.approx((2.0, 2 - reach, 2 + reach), abs=1e-5)
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.50 (0.25 to 0.75)"
    with pytest.raises(ValueError, match="1 draw: an interval needs at least two"):
        average(torch.ones(1))


def test_an_interval_covers_the_truth_about_95_times_in_a_hundred():
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(400):
        estimate = average(torch.randn(20, generator=generator))
        hits += estimate.low <= 0 <= estimate.high
    assert 0.92 <= hits / 400 <= 0.98
