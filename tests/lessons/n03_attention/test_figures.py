"""The figures of notebook 03 hold the numbers that they are given."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n03_attention import figures as plots

RNG = np.random.default_rng(0)
LINE = np.linspace(-2, 2, 9)
LITERAL = {1.0: LINE, 1.5: np.where(LINE < 0, np.nan, np.abs(LINE) ** 1.5)}
SCALED = {1.0: LINE, 1.5: 1.5 * LINE}
MAGNITUDES = np.linspace(0.2, 2.7, 6)
LOGARITHMS = np.array([-np.inf, -15.0, 8.0, 26.0, 34.0, np.inf])
POWERS = np.array([0.0, 1.0, 2.0])
SWEEP = np.array([[0.5, 0.5], [0.7, 0.3], [np.nan, np.nan]])
SCORES = np.array([1.0, -0.5])
LOSSES = {"p = 0": [[3.0, 2.0], [3.1, 2.2]], "p = 2": [[2.5, 1.5], [2.6, 1.4]]}
RECALLS = {"p = 0": [[0.1, 0.2], [0.1, 0.3]], "p = 2": [[0.2, 0.4], [0.3, 0.35]]}
LINES = {"popularity": 0.05, "oracle": 0.5}
SHARES = {name: RNG.dirichlet(np.ones(3), 2) for name in LOSSES}
OTHERS = {name: RNG.dirichlet(np.ones(3), 2) for name in LOSSES}
COUNTS = {"free": {"p = 0": np.array([0, 1, 1, 3]), "p = 2": np.array([0, 0, 0, 1])}}
ORDER = ("p = 0", "p = 1", "p = 2")
ATTENDED = {"p = 0": [0.2, 0.3], "p = 2": [0.6, 0.7]}
SERVED = {"p = 0": [0.1, 0.15], "p = 2": [0.3, 0.35]}
OVERTAKEN = {"p = 0": [0.01, 0.02], "p = 2": [0.03, 0.04]}
ITEMS = RNG.standard_normal((7, 2))
GROUPS = np.array([0, -1, -1, 0, 1, -1, 1])
FAMILIES = np.array([1, -1])
STARS = RNG.standard_normal((2, 2))
BROKEN = np.array([[0.0, 0.5], [1.0, 0.25]])


def view():
    weights = np.array([0.75, 0.25])
    return plots.attention_view(
        ITEMS, GROUPS, STARS, FAMILIES, ITEMS[2], weights @ STARS, SCORES, weights, "p = 2"
    )


FIGURES = {
    "bend": lambda: plots.bend_and_scale(LINE, LITERAL, SCALED),
    "limits": lambda: plots.float32_limits(MAGNITUDES, LOGARITHMS, 0.354, 2.429, 100.0),
    "sweep": lambda: plots.weight_sweep(POWERS, {"safe": SWEEP, "printed": SWEEP}, SCORES),
    "training": lambda: plots.training_by_power(
        LOSSES, RECALLS, "Recall@10", LINES, order=ORDER, title="d = 8"
    ),
    "ranks": lambda: plots.rank_shares(SHARES, OTHERS),
    "starved": lambda: plots.starved_or_idle(COUNTS),
    "mismatch": lambda: plots.two_ways_to_score(ATTENDED, SERVED, OVERTAKEN, "Recall@10", LINES),
    "view": view,
    "gallery": lambda: plots.gallery(BROKEN, ["a", "b"], ["sums", "finite"]),
}


def lines(axes):
    return [np.array(line.get_data()) for line in axes.lines if len(np.ravel(line.get_xdata())) > 2]


def legend(axes):
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def dots(axes):
    found = [c for c in axes.collections if isinstance(c, PathCollection)]
    return [np.asarray(c.get_offsets()) for c in found]


def test_the_curves_of_both_forms_are_drawn_with_their_gaps():
    left, right = FIGURES["bend"]().axes
    for axes, curves in ((left, LITERAL), (right, SCALED)):
        for drawn, (power, values) in zip(lines(axes), curves.items(), strict=True):
            np.testing.assert_array_equal(drawn, [LINE, values])
            assert f"p = {power:g}" in legend(right)


def test_the_float32_curve_ends_at_its_limits_and_names_them():
    (axes,) = FIGURES["limits"]().axes
    np.testing.assert_array_equal(lines(axes)[0], [MAGNITUDES[1:5], LOGARITHMS[1:5]])
    spans = [p for p in axes.patches if isinstance(p, Rectangle)]
    edges = [(p.get_x(), p.get_x() + p.get_width()) for p in spans]
    assert edges == [pytest.approx((0.2, 0.354)), pytest.approx((2.429, 2.7))]
    assert {"0.354", "2.429"} <= {t.get_text() for t in axes.texts}


def test_the_sweep_has_a_line_for_each_interest():
    axes = FIGURES["sweep"]().axes
    assert [a.get_title() for a in axes] == ["safe", "printed"]
    for drawn, values in zip(lines(axes[0]), SWEEP.T, strict=True):
        np.testing.assert_array_equal(drawn[1], values)
    assert legend(axes[0]) == ["+1.00", "-0.50"]


def test_dots_between_gaps_stand_side_by_side_at_their_heights():
    values = np.array([[0.5, 0.5], [0.7, 0.3], [0.1, 0.9]])
    gappy = np.where(np.arange(3)[:, None] == 1, np.nan, values)
    left, right = plots.weight_sweep(POWERS, {"safe": values, "printed": gappy}, SCORES).axes
    for drawn in lines(left):
        np.testing.assert_array_equal(drawn[0], POWERS)
    first, second = lines(right)
    assert first[0][0] < 0 < second[0][0]
    assert np.abs(first[0] - POWERS).max() < 0.2
    np.testing.assert_array_equal(first[1], gappy[:, 0])


def test_training_has_a_line_for_each_mean_a_dot_for_each_seed_and_the_floors():
    left, right = FIGURES["training"]().axes
    for axes, curves, factor in ((left, LOSSES, 1), (right, RECALLS, 100)):
        for drawn, points, (name, runs) in zip(
            axes.lines, dots(axes), curves.items(), strict=False
        ):
            values = factor * np.array(runs)
            assert np.asarray(drawn.get_xdata()).tolist() == [1, 2]
            np.testing.assert_allclose(np.asarray(drawn.get_ydata()), values.mean(0))
            np.testing.assert_allclose(points[:, 1], values[:, -1])
            assert (points[:, 0] > 2).all()
            assert drawn.get_color() == COLORS[ORDER.index(name)]
    assert [np.asarray(line.get_ydata())[0] for line in right.lines[2:]] == pytest.approx(
        [5.0, 50.0]
    )
    assert {t.get_text() for t in right.texts} == set(LINES)


def test_ranks_have_a_dot_for_each_seed_beside_its_rank():
    left, right = FIGURES["ranks"]().axes
    for axes, shares in ((left, SHARES), (right, OTHERS)):
        for points, values in zip(dots(axes), shares.values(), strict=True):
            np.testing.assert_allclose(points[:, 1], values.flatten())
            assert np.abs(points[:, 0] - [1, 2, 3, 1, 2, 3]).max() < 0.5
    assert legend(right) == list(SHARES)


def test_the_bars_of_the_starved_are_shares_of_the_users():
    (axes,) = FIGURES["starved"]().axes
    widths = [p.get_width() for p in axes.patches if isinstance(p, Rectangle)]
    assert widths == pytest.approx([0.25, 0.5, 0.25, 0.75, 0.25, 0])
    assert [t.get_text() for t in axes.get_yticklabels()] == ["p = 0", "p = 2"]


def test_both_ways_to_score_have_a_dot_for_each_seed():
    left, right = FIGURES["mismatch"]().axes
    expected = [*ATTENDED.values(), *SERVED.values()]
    for points, values in zip(dots(left), expected, strict=True):
        assert points[:, 0].tolist() == pytest.approx(np.multiply(100, values))
    for points, values in zip(dots(right), OVERTAKEN.values(), strict=True):
        assert points[:, 0].tolist() == pytest.approx(np.multiply(100, values))
    assert [np.asarray(line.get_xdata())[0] for line in left.lines] == pytest.approx([5.0, 50.0])


def test_the_view_shows_weights_interests_label_and_the_mixture():
    bars, plane = view().axes
    widths = [p.get_width() for p in bars.patches if isinstance(p, Rectangle)]
    assert widths == [0.75, 0.25]
    assert [t.get_text() for t in bars.get_yticklabels()] == ["1: +1.00", "2: -0.50"]
    others, one, two, first, second, label, attended = dots(plane)
    for points, group in ((others, -1), (one, 0), (two, 1)):
        np.testing.assert_allclose(points, ITEMS[group == GROUPS])
    np.testing.assert_allclose([first[0], second[0]], STARS)
    np.testing.assert_allclose(label[0], ITEMS[2])
    np.testing.assert_allclose(attended[0], 0.75 * STARS[0] + 0.25 * STARS[1])
    # An interest has the colour of its family, in both halves, and grey where it has none.
    stars = [np.asarray(star.get_facecolor()) for star in plane.collections[3:5]]
    colors = [tuple(face[0, :3].tolist()) for face in stars]
    assert colors == [to_rgb(COLORS[1]), to_rgb(INK)]
    assert [to_rgb(p.get_facecolor()) for p in bars.patches] == colors


def test_the_gallery_writes_each_share():
    (axes,) = FIGURES["gallery"]().axes
    np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()), BROKEN)
    assert [t.get_text() for t in axes.texts] == ["–", "50 %", "100 %", "25 %"]
