"""The figures of notebook 05 hold the numbers that they are given."""

from typing import Any

import numpy as np
import pytest

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS
from mindlib.lessons.n05_experiments.figures import (
    RoutedUser,
    Strip,
    coupling_heatmaps,
    gain_lines,
    intervals,
    strips,
)
from mindlib.lessons.n05_experiments.item_map import ItemMap, map_figure, small_maps

RNG = np.random.default_rng(0)
ROWS = [
    ("K = 1", Estimate(-0.02, -0.03, -0.01)),
    ("K = 2", None),
    ("K = 8", Estimate(0.0, -0.01, 0.01)),
]
PANELS = {"K": {"Beauty": ROWS, "films": ROWS[:1]}, "p": {"films": [("p = 0", ROWS[0][1])]}}


def routed(name: str, interests: int, behaviors: int) -> RoutedUser:
    labels = [f"{name} {i} {'a long name ' * (i % 3)}" for i in range(behaviors)]
    couplings = [RNG.dirichlet(np.ones(interests), behaviors).T for _ in range(2)]
    groups = [f"category {2 - i % 4 % 3}" for i in range(behaviors)]  # the last name most often
    return RoutedUser(name, labels, groups, couplings)


USERS = [routed("ann", 4, 9), routed("bob", 3, 5)]
POINTS = RNG.standard_normal((60, 2))
GENRES = [f"genre {i % 4}" for i in range(60)]
NAMED = ["genre 1", "genre 2"]
MAP = ItemMap(POINTS, GENRES, NAMED, POINTS[:2], ["war", "noir"], np.repeat([-1, 0, 1], 20))
GROUPS = [("1–2", Estimate(-0.02, -0.03, -0.01)), ("3–9", Estimate(0.0, -0.01, 0.01))]
MORE = [GROUPS[1], ("10–", Estimate(0.03, 0.02, 0.04))]
GAINS = {"interests": {"d = 8": GROUPS, "d = 64": MORE}, "length": {"d = 64": GROUPS}}
BARS = [Strip("1 war", [5, 0, 3], "Glory", COLORS[0]), Strip("2 noir", [1, 2, 5], "M", COLORS[1])]
FIGURES = {
    "gain_lines": lambda: gain_lines(GAINS, "points"),
    "intervals": lambda: intervals(PANELS, "points"),
    "coupling_heatmaps": lambda: coupling_heatmaps(USERS),
    "strips": lambda: strips(
        [Strip(str(k), RNG.random(50).tolist(), "Laura", COLORS[k]) for k in range(3)], "cosine"
    ),
    "bars": lambda: strips(BARS, "films", ("only", "another, too", "the other model, too")),
    "map_figure": lambda: map_figure(MAP, "purity 0.71"),
    "small_maps": lambda: small_maps({"one": POINTS, "two": -POINTS}, GENRES, NAMED),
}


def test_intervals_are_in_points_and_an_empty_row_keeps_its_place():
    figure = FIGURES["intervals"]()
    first: Any = figure.axes[0]
    assert [text.get_text() for text in first.get_yticklabels()] == ["K = 1", "K = 2", "K = 8"]
    (x, y) = first.containers[0].lines[0].get_data()
    assert (x[0], round(y[0])) == (-2, 0)
    (segment,) = first.containers[0].lines[2][0].get_segments()
    assert segment[:, 0].tolist() == [-3, -1]
    assert len(first.containers) == 3


def test_gains_have_a_panel_for_each_grouping_and_a_line_for_each_series():
    axes: Any = FIGURES["gain_lines"]().axes
    interests, length = axes
    assert [text.get_text() for text in interests.get_xticklabels()] == ["1–2", "3–9", "10–"]
    assert [text.get_text() for text in length.get_xticklabels()] == ["1–2", "3–9"]
    first, second = (container.lines for container in interests.containers)
    assert first[0].get_data()[1].tolist() == [-2, 0]
    assert [round(x) for x in second[0].get_data()[0]] == [1, 2]  # it has no group "1–2"
    (segment, _) = first[2][0].get_segments()
    assert segment[:, 1].tolist() == pytest.approx([-3, -1])
    (only,) = length.containers
    assert only.lines[0].get_color() == second[0].get_color()  # one color for "d = 64"


def test_all_of_a_users_heat_maps_have_the_order_of_the_first():
    maps = [axis for axis in FIGURES["coupling_heatmaps"]().axes if axis.images][:2]
    labels = [text.get_text() for text in maps[0].get_yticklabels()]
    user = USERS[0]
    order = [
        next(i for i, name in enumerate(user.labels) if name.startswith(label.rstrip("…")))
        for label in labels
    ]
    assert sorted(order) == list(range(9))
    names = [user.groups[i] for i in order]
    assert names == ["category 2"] * 5 + ["category 0"] * 2 + ["category 1"] * 2
    for axis, coupling in zip(maps, user.couplings, strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), coupling[:, order].T)


def test_the_most_frequent_category_is_boxed_with_the_largest_share_of_an_interest():
    user = USERS[0]
    boxed = np.array(user.groups) == "category 2"
    maps: Any = [axis for axis in FIGURES["coupling_heatmaps"]().axes if axis.images][:2]
    for axis, coupling in zip(maps, user.couplings, strict=True):
        (box,) = axis.patches
        assert (box.get_y(), box.get_height(), box.get_width()) == (-0.5, boxed.sum(), 4)
        share = coupling[:, boxed].mean(1)
        text = f"{100 * share.max():.0f} %\nin interest {share.argmax() + 1}"
        assert axis.get_title("left").endswith(text)


def test_bars_lie_end_to_end_and_have_their_numbers_but_no_zero():
    (axis,) = FIGURES["bars"]().axes
    bars: Any = axis.patches
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [
        (0, 5),
        (5, 3),
        (0, 1),
        (1, 2),
        (3, 5),
    ]
    texts = [text.get_text() for text in axis.texts if text.get_text()]
    assert texts == ["5", "3", "Glory", "1", "2", "5", "M"]


@pytest.mark.parametrize("stars", [1, 2])
def test_the_map_numbers_the_users_items_and_the_stars_in_both_panels(stars):
    interest = np.minimum(MAP.interest, stars - 1)
    words = ["genre 1, war", "noir"][:stars]
    figure: Any = map_figure(ItemMap(POINTS, GENRES, NAMED, POINTS[:stars], words, interest))
    for axis in figure.axes:
        texts = [text.get_text() for text in axis.texts]
        counts = [41, 0] if stars == 1 else [21, 21]
        assert [texts.count(text) for text in ("1", "2")] == counts
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown[:stars] == ["1 genre 1, war", "2 noir"][:stars]
    assert shown[stars:] == ["the user's films", " ", "genre 1", "genre 2", "other genres"]
