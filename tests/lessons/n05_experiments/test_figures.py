"""The figures hold the numbers that they are given, and read on light and on dark pages."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from mindlib.lessons.common.style import INK
from mindlib.lessons.n05_experiments.figures import (
    Panel,
    cut,
    data_at_a_glance,
    item_map,
    metric_points,
    training_curves,
)

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
CURVES = {"MIND": [[0.1, 0.2, 0.3], [0.15, 0.1, 0.2, 0.4]], "YouTube DNN": [[0.05, 0.06]]}
POINTS = {"Random": [0.01, 0.012], "MIND": [0.05, 0.06, 0.055]}


def panels(number: int = 2) -> list[Panel]:
    return [
        Panel(RNG.standard_normal((30, 2)), RNG.standard_normal((3, 2)), f"panel {n}")
        for n in range(number)
    ]


def named_panels(stars: np.ndarray) -> list[Panel]:
    names = tuple(f"category {k}" for k in range(len(stars)))
    return [Panel(RNG.standard_normal((30, 2)), stars, "named", names)]


def categories(number: int) -> list[str]:
    return [f"category {n % number}" for n in range(30)]


FIGURES = {
    "data_at_a_glance": lambda: data_at_a_glance(
        np.array([1, 5, 20, 300]), np.array([3, 1, 90]), np.array([1, 2, 4, 4])
    ),
    "metric_points": lambda: metric_points(POINTS, "HitRate@50", {"Popularity": 0.03}),
    "training_curves": lambda: training_curves(CURVES, "Recall@50"),
    "item_map": lambda: item_map(panels() + named_panels(np.eye(3, 2)), categories(9), columns=2),
}


def main_axes(figure: Figure) -> Axes:
    (axes,) = (a for a in figure.axes if a.get_xlabel())
    return axes


def percents(axes: Axes) -> list[list[float]]:
    """The abscissae of each scatter."""
    return [
        np.asarray(c.get_offsets())[:, 0].tolist()
        for c in axes.collections
        if isinstance(c, PathCollection)
    ]


def test_the_style_reaches_the_whole_session_and_is_only_asked_for_once():
    assert mpl.rcParams["text.color"] == INK
    assert mpl.rcParams["figure.facecolor"] == "none"


def test_there_is_a_point_for_each_seed_and_a_line_for_each_floor():
    axes = main_axes(metric_points(POINTS, "HitRate@50", {"Popularity": 0.03, "Random": 0.01}))
    assert percents(axes) == [pytest.approx([1.0, 1.2]), pytest.approx([5.0, 6.0, 5.5])]
    assert [np.asarray(line.get_xdata())[0] for line in axes.lines] == pytest.approx([3.0, 1.0])
    assert {t.get_text().strip() for t in axes.texts} >= {"Popularity", "Random"}
    assert [t.get_text() for t in axes.get_yticklabels()] == list(POINTS)
    assert "HitRate@50" in axes.get_xlabel()


def test_there_is_a_curve_for_each_seed_and_a_colour_for_each_model():
    axes = main_axes(training_curves(CURVES, "Recall@50"))
    expected = [line for lines in CURVES.values() for line in lines]
    assert len(axes.lines) == len(expected)
    for drawn, line in zip(axes.lines, expected, strict=True):
        x, y = np.asarray(drawn.get_data())
        assert x.tolist() == list(range(1, len(line) + 1))
        assert y == pytest.approx(100 * np.array(line))
    colors = [line.get_color() for line in axes.lines]
    assert colors[0] == colors[1] != colors[2]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == list(CURVES)


def test_the_glance_shows_all_users_and_all_interactions():
    lengths, counts = np.array([1, 5, 20, 300]), np.array([3, 1, 90, 6])
    figure = data_at_a_glance(lengths, counts, np.array([1, 2, 4, 4]))
    histogram, tail, bars = figure.axes
    heights = [p.get_height() for p in histogram.patches]  # pyright: ignore[reportAttributeAccessIssue]
    assert sum(heights) == len(lengths)
    x, y = np.asarray(tail.lines[0].get_data())
    assert x == pytest.approx([0.25, 0.5, 0.75, 1])
    assert y == pytest.approx([0.90, 0.96, 0.99, 1])
    shares = [p.get_height() for p in bars.patches]  # pyright: ignore[reportAttributeAccessIssue]
    assert shares == pytest.approx([0.25, 0.25, 0.5])
    assert bars.get_xticks().tolist() == [1, 2, 4]


@pytest.mark.parametrize("number", [3, 9])
def test_the_map_shows_every_item_once_and_every_interest(number):
    given = panels()
    figure = item_map(given, categories(number), named=4)
    for axes, panel in zip(figure.axes, given, strict=True):
        *clouds, stars = (c for c in axes.collections if isinstance(c, PathCollection))
        shown = np.concatenate([np.asarray(cloud.get_offsets()) for cloud in clouds])
        assert sorted(map(tuple, shown)) == sorted(map(tuple, panel.points))
        np.testing.assert_allclose(np.asarray(stars.get_offsets()), panel.stars)
        assert axes.get_title() == panel.caption
        assert [t.get_text() for t in axes.texts] == ["1", "2", "3"]
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert len(shown) == len(set(shown)) == min(number, 4) + (number > 4) + 1
    assert ("other" in shown) == (number > 4)


def test_the_map_gives_the_most_frequent_categories_a_colour():
    groups = ["rare"] + ["often"] * 20 + ["sometimes"] * 9
    (legend,) = item_map(panels(1), groups, named=2).legends
    shown = {text.get_text() for text in legend.get_texts()}
    assert {"Often", "Sometimes", "other"} <= shown
    assert "Rare" not in shown


@pytest.mark.parametrize(("columns", "rows"), [(None, 1), (1, 5), (2, 3), (3, 2), (9, 1)])
def test_the_maps_panels_go_on_in_the_next_row(columns, rows):
    figure = item_map(panels(5), categories(3), columns=columns)
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in shown] == [f"panel {n}" for n in range(5)]
    figure.canvas.draw()
    tops = [round(axes.get_position().y1, 3) for axes in shown]
    assert len(set(tops)) == rows
    assert tops == sorted(tops, reverse=True)


@pytest.mark.parametrize("spread", [0.0, 0.01, 3.0])
def test_the_names_of_stars_stand_beside_them_and_apart(spread):
    stars = spread * np.random.default_rng(1).standard_normal((8, 2))
    figure = item_map(named_panels(stars), categories(3))
    figure.canvas.draw()
    (axes,) = figure.axes
    labels = [t for t in axes.texts if "category" in t.get_text()]
    assert sorted(t.get_text() for t in labels) == [f"{k + 1} category {k}" for k in range(8)]
    boxes = [Text.get_window_extent(t) for t in labels]  # without the lines to the stars
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert axes.bbox.y0 <= box.y0 <= box.y1 <= axes.bbox.y1
    for label in labels:
        star = stars[int(label.get_text()[0]) - 1]
        assert getattr(label, "xy", None) == pytest.approx(star)  # where its line ends


def test_maps_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="nothing to show: expected at least one panel"):
        item_map([], [])
    with pytest.raises(ValueError, match="columns=0: expected at least 1"):
        item_map(panels(), categories(3), columns=0)
    with pytest.raises(ValueError, match=r"1 names for 2 stars of 'x': expected one for each"):
        Panel(np.zeros((3, 2)), np.zeros((2, 2)), "x", ("milk",))


@pytest.mark.parametrize("width", [2, 5, 40])
def test_a_text_is_cut_only_where_it_is_too_long(width):
    text = "whole milk, fresh"
    short = cut(text, width)
    assert len(short) <= width
    assert short == text if len(text) <= width else text.startswith(short.removesuffix("…"))
    assert short.endswith("…") == (len(text) > width)
