"""The figures of the online experiment hold the numbers that they are given."""

from typing import Any

import numpy as np

from mindlib.evaluation import Estimate
from mindlib.lessons.n06_online import week_figures as simulation

RATES = [Estimate(0.02, 0.018, 0.023), Estimate(0.03, 0.027, 0.031)]
OTHER = [Estimate(0.01, 0.009, 0.012), Estimate(0.015, 0.012, 0.016)]


def intervals(container: Any) -> np.ndarray:
    return np.array([segment[:, 1] for segment in container[2][0].get_segments()])


def test_days_have_their_rates_with_intervals_side_by_side():
    (axis,) = simulation.ctr_by_day({"a": RATES, "b": OTHER}).axes
    first, second = axis.containers
    np.testing.assert_allclose(np.asarray(first[0].get_ydata()), [2, 3])
    np.testing.assert_allclose(intervals(first), [[1.8, 2.3], [2.7, 3.1]])
    np.testing.assert_allclose(second[0].get_ydata(), [1, 1.5])
    apart = second[0].get_xdata() - first[0].get_xdata()
    assert (apart > 0).all()
    assert (apart < 1).all()
    np.testing.assert_allclose((first[0].get_xdata() + second[0].get_xdata()) / 2, [1, 2])


def test_dynamic_k_stands_at_what_it_costs():
    figure = simulation.ctr_against_interests(
        {1: OTHER[0], 5: RATES[1]}, (3.6, RATES[0]), {"CF": OTHER[1]}
    )
    (axis,) = figure.axes
    fixed, dynamic = axis.containers
    assert fixed[0].get_xdata().tolist() == [1, 5]
    np.testing.assert_allclose(intervals(fixed), [[0.9, 1.2], [2.7, 3.1]])
    assert dynamic[0].get_xdata().tolist() == [3.6]
    np.testing.assert_allclose(np.asarray(dynamic[0].get_ydata()), [2])
    legend = axis.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["CF", "MIND, K fixed", "MIND, dynamic K (3.6 searches)"]


def test_a_over_a_counts_p_values_and_stopped_tests():
    p_values = np.array([0.01, 0.02, 0.3, 0.99])
    looks = {"peeking": np.array([0.05, 0.2]), "bounds": np.array([0.0, 0.05])}
    left, right = simulation.a_over_a(p_values, looks, bins=4).axes
    assert [bar.get_height() for bar in left.containers[0]] == [2, 1, 0, 1]
    np.testing.assert_allclose(np.asarray(right.lines[0].get_ydata()), [5, 20])
    np.testing.assert_allclose(np.asarray(right.lines[1].get_ydata()), [0, 5])
    assert right.lines[2].get_ydata() == [5, 5]
