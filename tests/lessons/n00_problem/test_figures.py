"""Notebook 00's figures hold the numbers that they are given."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure

from mindlib.lessons.common.style import COLORS
from mindlib.lessons.n00_problem import figures as problem
from mindlib.lessons.n00_problem.geometry import circle_world, retrieved

WORLD = circle_world(100.0)
ITEMS, CLUSTERS = WORLD.items.numpy(), WORLD.clusters.numpy()
FOUND = retrieved(WORLD.centres[None], WORLD.items, 16)[0].numpy()
CENTRES = WORLD.centres.numpy()
DEGREES = np.array([90.0, -170.0, 10.0])
RECALLS = np.array([[1.0, 0.0], [0.25, 0.5], [0.5, 0.125]])
WORK = {"everything": 1e13, "index": 2e6, "few": 5e7}
SHARES = {
    "2 interests": {2: (0.0, 0.0, 0.04), 8: (1.0, 0.96, 1.0)},
    "4 interests": {2: (0.0, 0.0, 0.04), 8: (0.5, 0.4, 0.6)},
}
SERIES = {
    "bare": {"mean": (0.3, 0.2, 0.4), "two": (0.9, 0.85, 0.95)},
    "full": {"mean": (0.1, 0.0, 0.2), "two": (0.5, 0.45, 0.55)},
}
COSINES = {0: np.array([0.0, 0.1, -0.1]), 2: np.array([0.5, 0.6, 0.7, 0.5])}
SCORES = np.array([[-1.0, 0.5, 1.0, 0.0], [1.0, 0.0, -0.5, 0.2]])
AROUND = np.array([-180.0, -60.0, 60.0, 180.0])

FIGURES = {
    "costs": lambda: problem.costs(WORK, budget=1e8, label="15 ms"),
    "circles": lambda: problem.circles(
        ITEMS, CLUSTERS, [("one", ~FOUND, CENTRES[:1]), ("two", FOUND, CENTRES)]
    ),
    "search": lambda: problem.search({"all": (DEGREES, RECALLS), "few": (DEGREES, RECALLS / 2)}),
    "one_or_two": lambda: problem.one_or_two(
        ITEMS, CLUSTERS, FOUND, CENTRES, (DEGREES, RECALLS), 30.0, "both"
    ),
    "caps": lambda: problem.caps(
        AROUND, {"equal": (SCORES, 0.4), "shorter": (SCORES / 2, 0.45)}, np.array([-50.0, 50.0])
    ),
    "dimensions": lambda: problem.dimensions(SHARES),
    "intervals": lambda: problem.intervals(SERIES, "found", line=("chance", 0.1)),
    "shared_fields": lambda: problem.shared_fields(COSINES, {0: 0.0, 2: 0.6}),
}


def data(line: Any) -> tuple[list[float], list[float]]:
    x, y = line.get_data()
    return list(map(float, x)), list(map(float, y))


def only(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def test_the_costs_are_bars_coloured_by_whether_they_fit():
    axes = only(FIGURES["costs"]())
    bars: Any = axes.patches
    assert [bar.get_width() for bar in bars] == list(WORK.values())
    assert [to_rgb(bar.get_facecolor()) for bar in bars] == [to_rgb(COLORS[i]) for i in (1, 2, 2)]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(WORK)
    assert data(axes.lines[0])[0] == [1e8, 1e8]
    assert "15 ms" in {t.get_text().strip() for t in axes.texts}
    assert axes.get_xscale() == "log"


def points(axes: Axes, full: bool) -> set[tuple[float, float]]:
    """The items that are drawn full, or hollow."""
    clouds = [c for c in axes.collections if isinstance(c, PathCollection)]
    drawn = set()
    for cloud in clouds:
        faces: Any = cloud.get_facecolor()
        if (len(faces) > 0 and faces[0][3] > 0) == full:
            drawn |= {(float(x), float(y)) for x, y in np.asarray(cloud.get_offsets())}
    return drawn


def test_on_the_circle_what_is_retrieved_is_full():
    figure = FIGURES["circles"]()
    one, two = figure.axes
    for axes, found in ((one, ~FOUND), (two, FOUND)):
        assert points(axes, full=True) == {(float(x), float(y)) for x, y in ITEMS[found]}
        assert points(axes, full=False) == {(float(x), float(y)) for x, y in ITEMS[~found]}
        assert {t.get_text() for t in axes.texts} >= {"A", "B", "C"}
    assert [one.get_title(), two.get_title()] == ["one", "two"]


@pytest.mark.parametrize("vectors", [CENTRES[:1], 0.5 * CENTRES])
def test_on_the_circle_there_is_an_arrow_as_long_as_each_vector_in_proportion(vectors):
    (axes,) = problem.circles(ITEMS, CLUSTERS, [("", FOUND, vectors)]).axes
    tips = [t.xy for t in axes.texts if isinstance(t, mpl.text.Annotation)]  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(tips, 0.86 * vectors)


def test_the_search_shows_both_shares_and_the_worse_in_order_of_the_angle():
    for axes, scale in zip(FIGURES["search"]().axes, (1, 0.5), strict=True):
        order = [1, 2, 0]
        expected = [RECALLS[order].min(1), *RECALLS[order].T]
        assert len(axes.lines) == 3
        for line, values in zip(axes.lines, expected, strict=True):
            assert data(line) == (DEGREES[order].tolist(), pytest.approx(scale * values))


@pytest.mark.parametrize("here", [30.0, None])
def test_the_view_marks_the_direction_if_there_is_one(here):
    figure = problem.one_or_two(ITEMS, CLUSTERS, FOUND, CENTRES, (DEGREES, RECALLS), here, "both")
    left, right = figure.axes
    assert left.get_title() == "both"
    assert [data(line)[0] for line in right.lines[3:]] == ([[30.0, 30.0]] if here else [])


def test_the_caps_are_where_the_best_score_is_above_the_bar():
    figure = FIGURES["caps"]()
    # Best scores 1, .5, 1, .2 over a bar of .4; then .5, .25, .5, .1 over one of .45.
    reach = [[(-180.0, 60.0)], [(-180.0, -180.0), (60.0, 60.0)]]
    for axes, scale, level, expected in zip(figure.axes, (1, 0.5), (0.4, 0.45), reach, strict=True):
        *each, bar, marks = axes.lines
        assert [data(line) for line in each] == [
            (AROUND.tolist(), (scale * row).tolist()) for row in SCORES
        ]
        assert data(bar)[1] == [level, level]
        assert data(marks)[0] == [-50.0, 50.0]
        (shade,) = axes.collections
        covered = [np.asarray(path.vertices)[:, 0] for path in shade.get_paths()]
        assert [(min(x), max(x)) for x in covered] == expected
    assert [axes.get_title() for axes in figure.axes] == ["equal", "shorter"]


def test_the_dimensions_have_their_shares_and_intervals_beside_one_another():
    axes = only(FIGURES["dimensions"]())
    two, four = axes.containers
    line, _, bars = two  # pyright: ignore[reportGeneralTypeIssues]
    assert data(line) == ([0, 1], [0.0, 1.0])
    spans = [sorted(y for _, y in segment) for segment in bars[0].get_segments()]
    assert spans == [pytest.approx([0.0, 0.04]), pytest.approx([0.96, 1.0])]
    assert data(four[0])[1] == [0.0, 0.5]  # pyright: ignore[reportIndexIssue]
    shift = np.subtract(data(four[0])[0], [0, 1])  # pyright: ignore[reportIndexIssue]
    assert (shift > 0.05).all(), "neither hides the other"
    assert (shift < 0.5).all(), "and each stays at its dimension"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["2", "8"]


def test_an_interval_that_rounding_turned_around_is_drawn():
    problem.dimensions({"all": {2: (1.0, 0.9, 1.0 - 1e-16)}}).canvas.draw()


def test_the_intervals_have_a_point_and_a_bar_for_each_row_and_series():
    figure = FIGURES["intervals"]()
    axes = only(figure)
    dots = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    expected = [row for rows in SERIES.values() for row in rows.values()]
    assert [data(dot)[0] for dot in dots] == [[middle] for middle, _, _ in expected]
    heights = [data(dot)[1][0] for dot in dots]
    assert [round(height) for height in heights] == [0, 1, 0, 1]
    assert len(set(heights)) == 4, "series do not hide one another"
    spans: Any = [c.get_segments()[0][:, 0].tolist() for c in axes.collections]  # pyright: ignore[reportAttributeAccessIssue]
    assert spans == [[low, high] for _, low, high in expected]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["mean", "two"]
    assert "chance" in {t.get_text().strip() for t in axes.texts}
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == list(SERIES)


def test_the_boxes_stand_at_the_number_of_shared_fields():
    axes = only(FIGURES["shared_fields"]())
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert data(crosses[0]) == ([0, 2], [0.0, 0.6])
    medians = [line for line in axes.lines if to_rgba(line.get_color()) == to_rgba(COLORS[1])]
    assert [data(line)[1][0] for line in medians] == pytest.approx([0.0, 0.55])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "2"]
