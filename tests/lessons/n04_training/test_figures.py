"""The figures of notebook 04 hold the numbers that they are given."""

from typing import Any

import numpy as np
import torch

from mindlib.evaluation import Estimate
from mindlib.lessons.n04_training import figures as training
from mindlib.lessons.n04_training import serving_figures as serving
from mindlib.lessons.n04_training.click_map import ClickMap, Seen
from mindlib.lessons.n04_training.sampled import Bias
from mindlib.lessons.n04_training.serving_trials import Point
from mindlib.lessons.n04_training.steps import Paths, StepCost
from mindlib.training import EpochRecord

BIASES = [Bias(Estimate(-0.4, -0.5, -0.3), 0.6, 0.1), Bias(Estimate(0.1, 0.0, 0.3), 0.2, 0.05)]
COSTS = [StepCost(10, 1.0, 2.0, 0.3, 0.1), StepCost(100, 1.5, 20.0, 3.0, 1.0)]
RECORDS = [EpochRecord(n, 10 * n, 5.0 - n, {"HitRate@10": 0.1 * n}, 0.01, 1.0, 1.0) for n in (1, 2)]
AGAIN = [EpochRecord(n, 10 * n, 5.0 - n, {"HitRate@10": 0.1 * n}, 0.01, 1.0, 1.0) for n in (1, 2)]
POINTS = [
    Point("exact", 5, 1.0, 9.0, 12.0),
    Point("b", 5, 0.9, 2.0, 3.0),
    Point("a", 5, 0.7, 1.0, 2.0),
]


def data(line: Any, axis: str = "y") -> list[float]:
    return [float(value) for value in getattr(line, f"get_{axis}data")()]


def test_bias_shows_estimates_with_their_intervals():
    figure = training.bias_by_number((8, 64), {"uniform": BIASES, "no logQ": BIASES}, ["no logQ"])
    left, right = figure.axes
    first, second = left.containers
    np.testing.assert_allclose(data(first[0]), [-0.4, 0.1])
    ends = np.array([s[:, 1] for s in first[2][0].get_segments()])
    np.testing.assert_allclose(ends, [[-0.5, -0.3], [0.0, 0.3]])
    assert (first[0].get_linestyle(), second[0].get_linestyle()) == ("-", "--")
    np.testing.assert_allclose(data(right.lines[0]), [0.6, 0.2])


def test_learnt_shares_are_bars_beside_the_truth():
    figure = training.learnt_shares([0.7, 0.3], {"a": [0.6, 0.4], "b": [0.5, 0.5]}, ["x", "y"])
    (axis,) = figure.axes
    assert [[bar.get_height() for bar in c] for c in axis.containers] == [[0.6, 0.4], [0.5, 0.5]]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["x", "y"]


def test_settings_have_a_dot_for_each_seed():
    groups = {
        "n": {"a": np.array([0.1, 0.2]), "b": np.array([0.3, 0.5])},
        "B": {"c": np.array([0.4])},
    }
    figure = training.settings_compared(groups, "HitRate@10", {"popularity": 0.05})
    left, right = figure.axes
    np.testing.assert_allclose(data(left.lines[0]), [10, 20])
    np.testing.assert_allclose(data(left.lines[1]), [30, 50])
    np.testing.assert_allclose(data(right.lines[0]), [40])
    np.testing.assert_allclose(left.collections[1].get_segments()[0][:, 1], 40)  # pyright: ignore[reportAttributeAccessIssue]


def test_adam_paths_and_their_ticks():
    paths = Paths(np.zeros((4, 2)), -np.arange(8.0).reshape(4, 2), np.eye(3)[:, :2])
    figure = training.adam_paths(paths, ["a", "b"])
    dense, rows, ticks = figure.axes[1].lines
    np.testing.assert_allclose(data(dense), [-1, -3, -5, -7])
    np.testing.assert_allclose(data(rows), 0)
    assert data(ticks, "x") == [2]


def test_step_costs():
    left, right = training.step_costs(COSTS).axes
    assert [data(line) for line in left.lines] == [[2.0, 20.0], [1.0, 1.5]]
    assert [data(line) for line in right.lines] == [[0.4, 4.0], [0.3, 3.0]]


def test_a_training_and_its_interrupted_twin():
    figure = training.survived(RECORDS, AGAIN, "HitRate@10", 1.5)
    loss, metric, _ = figure.axes
    assert [data(line) for line in loss.lines[:2]] == [[4.0, 3.0]] * 2
    np.testing.assert_allclose(data(metric.lines[1]), [10, 20])
    assert data(loss.lines[2], "x") == [1.5, 1.5]


def test_one_and_two():
    figure = training.one_and_two({"a": [3.0, 2.0]}, {"a": [3.1, 2.1]})
    assert [data(line) for line in figure.axes[0].lines] == [[3.0, 2.0], [3.1, 2.1]]


def test_recall_and_latency():
    left, right = serving.recall_and_latency({"live": POINTS}, {"live": POINTS[1:]}).axes
    curve, star = left.lines
    assert data(curve, "x") == [2.0, 1.0]
    assert data(curve) == [0.9, 0.7]
    assert data(star, "x") == [9.0]
    assert [data(line) for line in right.lines] == [[2.0, 1.0], [3.0, 2.0]]


def test_clicked_shows_rings_stars_and_lists():
    view = ClickMap.__new__(ClickMap)
    object.__setattr__(view, "items", np.arange(8.0).reshape(4, 2))
    object.__setattr__(view, "item_clusters", np.array([-1, 0, 1, 1, 2]))
    vectors = torch.eye(2)
    before = Seen(vectors, np.zeros((2, 2)), np.array([True, False]), np.array([20, 0, 0]))
    after = Seen(vectors, np.ones((2, 2)), np.array([True, True]), np.array([15, 0, 5]))
    figure = serving.clicked(view, before, after, [0], 2)
    axis, bars = figure.axes
    markers = [line.get_marker() for line in axis.lines]
    assert markers.count("*") == 2
    assert markers.count("o") == 1, "the new interest has no ring"
    heights = [[bar.get_width() for bar in container] for container in bars.containers]
    assert heights == [[20, 0], [15, 5]], "a cluster that is in neither list is left out"
