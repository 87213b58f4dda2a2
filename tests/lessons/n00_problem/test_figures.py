"""Notebook 00's figures hold the numbers that they are given."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n00_problem import figures

POINTS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
IN_LIST = np.array([True, False, True, False])
SCORES = np.array([0.9, 0.4, 0.8, 0.3, 0.7, -0.2, 0.1, 0.0])
CURVES = {
    "four": [Estimate(2.0, 1.5, 2.5), Estimate(4.0, 4.0, 4.0)],
    "one": [Estimate(0.1, 0.0, 0.2), Estimate(2.2, 2.0, 2.4)],
}
TIMES = {"scan": (128.0, 6.4), "index": (0.1, 0.005)}

FIGURES = {
    "circles": lambda: figures.circles(
        POINTS,
        np.array([0, 1, 2, 2]),
        ("noir", "war"),
        [("one", IN_LIST, POINTS[:1]), ("two", ~IN_LIST, POINTS[:2])],
        [*COLORS[:2], INK],
    ),
    "strips": lambda: figures.strips({"one": SCORES, "two": SCORES / 2}, 2, 2, "d = 8"),
    "coverage": lambda: figures.coverage(CURVES, (8, 64), 4, {"one": 33.0}),
    "costs": lambda: figures.costs(TIMES, limit=15),
}


def test_on_the_circle_the_films_of_the_list_are_filled():
    for axis, in_list in zip(FIGURES["circles"]().axes, (IN_LIST, ~IN_LIST), strict=True):
        (dots,) = [c for c in axis.collections if isinstance(c, PathCollection)]
        faces = np.asarray(dots.get_facecolor())
        assert (faces[:, 3] > 0).tolist() == in_list.tolist()


def test_each_item_is_at_its_rank_and_the_items_of_the_list_are_filled():
    (axis,) = FIGURES["strips"]().axes
    assert [np.asarray(line.get_xdata()).tolist() for line in axis.lines] == [[4.5, 4.5]]
    for dots in axis.collections:
        assert np.asarray(dots.get_offsets())[:, 0].tolist() == [1, 4, 2, 5, 3, 8, 6, 7]
        faces = np.asarray(dots.get_facecolor())
        assert (faces[:, 3] > 0).tolist() == (SCORES >= 0.4).tolist()


def test_the_curves_have_their_values_and_intervals():
    (axis,) = FIGURES["coverage"]().axes
    lines = [np.asarray(line.get_ydata()).tolist() for line in axis.lines]
    assert [2.0, 4.0] in lines
    assert [0.1, 2.2] in lines
    (bars, _) = [c.get_segments() for c in axis.collections]  # pyright: ignore[reportAttributeAccessIssue]
    assert [bar[:, 1].tolist() for bar in bars] == [pytest.approx([1.5, 2.5]), [4, 4]]
    assert [33, 33] in [np.asarray(line.get_xdata()).tolist() for line in axis.lines]
    assert "rule, one: 33" in [text.get_text() for text in axis.texts]


def test_the_costs_have_a_mark_for_reading_and_one_for_computing():
    (axis,) = FIGURES["costs"]().axes
    marks = [c for c in axis.collections if isinstance(c, PathCollection)]
    shown = [np.asarray(mark.get_offsets()).tolist() for mark in marks]
    assert shown == [[[128, 0], [0.1, 1]], [[6.4, 0], [0.005, 1]]]
    (limit,) = axis.lines
    assert np.asarray(limit.get_xdata()).tolist() == [15, 15]
