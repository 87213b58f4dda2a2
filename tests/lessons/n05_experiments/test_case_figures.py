"""The figures of the case study hold the numbers that they are given."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba

from mindlib.lessons.n05_experiments.case_figures import (
    CouplingPanel,
    Strip,
    coupling_heatmaps,
    item_strips,
)

RNG = np.random.default_rng(0)


def dots(axis: Axes) -> list[Any]:
    """The strips' scatters, without the empty ones of the legend."""
    return [row for row in axis.collections if len(np.asarray(row.get_offsets()))]


def panel(user: str, interests: int, behaviors: int, title: str) -> CouplingPanel:
    labels = tuple(f"{user} {i} {'a long name ' * (i % 3)}" for i in range(behaviors))
    groups = tuple(f"category {i % 3}" for i in range(behaviors))
    return CouplingPanel(RNG.dirichlet(np.ones(interests), behaviors).T, labels, groups, title)


PANELS = [panel("ann", 4, 9, f"seed {s}") for s in range(3)] + [
    panel("bob", 3, 5, f"seed {s}") for s in range(3)
]
STRIPS = [
    Strip("interest 1: dairy 62 %", RNG.normal(0.8, 0.05, 60), "interest"),
    Strip("interest 2: bakery 40 %", RNG.normal(0.6, 0.05, 60), "interest"),
    Strip("YouTube DNN", RNG.normal(0.5, 0.1, 60), "single"),
    Strip("random", RNG.normal(0.1, 0.1, 37), "random"),
]
FIGURES = {
    "coupling_heatmaps": lambda: coupling_heatmaps(PANELS, users=("Ann", "Bob")),
    "item_strips": lambda: item_strips(STRIPS, label="cosine"),
}


def test_all_of_a_users_heat_maps_have_the_order_of_the_first():
    figure = FIGURES["coupling_heatmaps"]()
    maps = [axis for axis in figure.axes if axis.images]
    assert len(maps) == len(PANELS)
    for own, given in ((maps[:3], PANELS[:3]), (maps[3:], PANELS[3:])):
        first = given[0]
        shown = [t.get_text() for t in own[0].get_yticklabels()]
        order = [
            next(i for i, label in enumerate(first.labels) if label.startswith(text.rstrip("…")))
            for text in shown
        ]
        assert sorted(order) == list(range(len(first.labels)))
        keys = [(first.groups[i], first.coupling[:, i].argmax()) for i in order]
        assert keys == sorted(keys)
        for axis, panel in zip(own, given, strict=True):
            np.testing.assert_array_equal(axis.images[0].get_array(), panel.coupling[:, order].T)
            assert axis.images[0].get_clim() == (0, 1)
            assert axis.get_title().endswith(panel.title)
        assert [len(axis.get_yticks()) for axis in own] == [len(order), 0, 0]
    assert [m.get_title().split("\n")[0] for m in (maps[1], maps[4])] == ["Ann", "Bob"]


def test_a_row_is_as_high_for_every_user():
    figure = FIGURES["coupling_heatmaps"]()
    assert {axis.get_ylim() for axis in figure.axes if axis.images} == {(8.5, -0.5)}


def test_the_strip_has_a_cell_for_each_category_in_the_colour_of_its_name():
    figure = FIGURES["coupling_heatmaps"]()
    strips = [axis for axis in figure.axes if axis.patches and not axis.images]
    assert len(strips) == 2
    for strip, sizes in zip(strips, ((3, 3, 3), (2, 2, 1)), strict=True):
        assert [t.get_text() for t in strip.get_yticklabels()] == [
            f"Category {k}" for k in range(3)
        ]
        colors = [to_rgb(t.get_color()) for t in strip.get_yticklabels()]
        assert colors == [to_rgb(patch.get_facecolor()) for patch in strip.patches]
        assert len(set(colors)) == 3
        # Each in the middle of the behaviours that are its own.
        ends = np.cumsum((0, *sizes))
        np.testing.assert_allclose(strip.get_yticks(), (ends[1:] + ends[:-1] - 1) / 2)
        cells: list[Any] = list(strip.patches)
        middles = [cell.get_y() + cell.get_height() / 2 for cell in cells]
        np.testing.assert_allclose(middles, strip.get_yticks())


def test_one_panel_of_one_behaviour_is_drawn():
    coupling_heatmaps([panel("ann", 1, 1, "")]).canvas.draw()


def test_panels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="nothing to show: expected at least one panel"):
        coupling_heatmaps([])
    with pytest.raises(ValueError, match="users with 3, 2 panels: expected as many for each"):
        coupling_heatmaps(PANELS[:5])
    with pytest.raises(ValueError, match="1 headings for 2 users"):
        coupling_heatmaps(PANELS, users=("Ann",))
    with pytest.raises(ValueError, match=r"1 labels and 9 groups for 9 behaviours of 'seed 0'"):
        replace(PANELS[0], labels=("milk",))


def test_dots_have_areas_of_one_scale_and_lose_no_item():
    figure = FIGURES["item_strips"]()
    (axis,) = figure.axes
    rows = dots(axis)
    areas = [np.asarray(row.get_sizes()) for row in rows]
    number = sum(len(strip.similarity) for strip in STRIPS)
    one = sum(area.sum() for area in areas) / number  # the area of one item
    for place, (strip, row, area) in enumerate(zip(STRIPS, rows, areas, strict=True)):
        counts = area / one
        np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
        assert counts.min() >= 1 - 1e-9
        assert counts.sum() == pytest.approx(len(strip.similarity))
        x, y = np.asarray(row.get_offsets()).T
        assert set(y) == {place}
        # Binning moves no item by more than half a bin.
        width = np.ptp(np.concatenate([s.similarity for s in STRIPS])) / 40
        moved = np.sort(np.repeat(x, counts.round().astype(int))) - np.sort(strip.similarity)
        assert np.abs(moved).max() <= width / 2 + 1e-9
    assert [t.get_text() for t in axis.get_yticklabels()] == [strip.name for strip in STRIPS]


def test_the_legend_of_sizes_has_the_scale_of_the_dots():
    values = np.concatenate([np.full(8, 0.2), [0.9]])
    figure = item_strips([Strip("eight and one", values, "interest")], label="cosine")
    (axis,) = figure.axes
    eight, one = np.asarray(dots(axis)[0].get_sizes())
    assert eight == pytest.approx(8 * one)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["1 item", "2 items", "8 items"]
    keys = [np.asarray(handle.get_sizes())[0] for handle in legend.legend_handles]  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    assert keys == pytest.approx([one, 2 * one, 8 * one])


def test_the_three_kinds_differ_and_interests_are_alike():
    (axis,) = FIGURES["item_strips"]().axes
    colors = [to_rgba(row.get_facecolor()[0]) for row in dots(axis)]
    assert colors[0] == colors[1]
    assert len(set(colors)) == 3


def test_strips_without_items_are_refused_and_equal_items_are_not():
    with pytest.raises(ValueError, match="nothing to show: expected at least one strip"):
        item_strips([], label="cosine")
    with pytest.raises(ValueError, match=r"strip 'none' has no items: leave it out"):
        item_strips([STRIPS[0], Strip("none", np.zeros(0), "random")], label="cosine")
    item_strips([Strip("one", np.array([0.5, 0.5]), "single")], label="cosine").canvas.draw()
