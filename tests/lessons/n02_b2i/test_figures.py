"""The figures of notebook 02 hold the numbers that they are given."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from mindlib.evaluation import Estimate
from mindlib.lessons.n02_b2i import figures as b2i

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.dirichlet(np.ones(3), 6).T for _ in range(4)]
LINES = {
    "a": [Estimate(0.1, 0.05, 0.2), Estimate(0.5, 0.4, 0.6)],
    "b": [Estimate(0.3, 0.2, 0.4), Estimate(0.9, 0.8, 0.95)],
}
FLOORS = {"b": [Estimate(0.02, 0.0, 0.05), Estimate(0.03, 0.01, 0.05)]}
PATHS = {"one": [(1.0, 1.0), (0.5, 0.8), (0.1, 0.2)], "other": [(1.0, 0.9), (0.4, 0.5), (0.3, 0.0)]}
LADDER = {"first": [0.1, 0.12], "second": [0.2, 0.21]}


def by_length():
    lengths = np.array([1, 5, 20, 50, 50])
    staircase = np.array([1, 1, 1, 2, 2, 2, 2, 3])
    return b2i.interests_by_length(lengths, staircase, {2: 0.1, 8: 0.5}, {2: 0.05, 8: 0.4}, 20)


def pictures(number=5):
    return [b2i.Picture(f"title {n}", WEIGHTS[n % 4], f"caption {n}") for n in range(number)]


FIGURES = {
    "rounds": lambda: b2i.rounds(
        {"zero": WEIGHTS[:2], "random": WEIGHTS[2:]}, {"zero": [1.0, 1.0], "random": [0.9, 0.25]}
    ),
    "curves": lambda: b2i.curves([0.5, 4.0], LINES, floors=FLOORS, xlabel="x", ylabel="y"),
    "interests_by_length": by_length,
    "heat_maps": lambda: b2i.heat_maps(pictures(), columns=3, label="weight"),
    "collapse_map": lambda: b2i.collapse_map(PATHS, ["small", "middle", "large"], (0.05, 0.64)),
    "coupling_and_cosine": lambda: b2i.coupling_and_cosine(
        WEIGHTS[0], np.eye(3), np.array([0, 0, 1, 1, 2, 2]), "title"
    ),
    "metric_ladder": lambda: b2i.metric_ladder(LADDER, {"floor": 0.05}, "HitRate"),
}


def images(figure: Figure) -> list[np.ndarray]:
    """The heat maps, without the colour bars."""
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_rounds_shows_every_coupling_with_its_cosine():
    figure = FIGURES["rounds"]()
    for shown, given in zip(images(figure), WEIGHTS, strict=True):
        np.testing.assert_allclose(shown, given)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == [
        "round 1: cosine 1.00", "round 2: cosine 1.00", "round 1: cosine 0.90",
        "round 2: cosine 0.25",
    ]  # fmt: skip


def test_curves_have_the_values_and_the_bands():
    (axes,) = FIGURES["curves"]().axes
    lines = [line for line in axes.lines if line.get_linestyle() == "-"]
    for line, band, estimates in zip(lines, axes.collections, LINES.values(), strict=True):
        assert np.asarray(line.get_xdata()).tolist() == [0.5, 4.0]
        assert np.asarray(line.get_ydata()).tolist() == [e.value for e in estimates]
        corners = band.get_paths()[0].vertices
        assert isinstance(corners, np.ndarray)
        edges = {round(float(y), 9) for y in corners[:, 1]}
        assert edges == {bound for e in estimates for bound in (e.low, e.high)}
    (floor,) = (line for line in axes.lines if line.get_linestyle() == ":")
    assert np.asarray(floor.get_ydata()).tolist() == [0.02, 0.03]
    assert floor.get_color() == lines[1].get_color()
    assert axes.get_ylim()[0] < 0, "a line at 0 is not hidden by the axis"


def test_interests_by_length_counts_all_users_and_shows_both_savings():
    left, middle, right = by_length().axes
    assert np.asarray(left.lines[0].get_ydata()).tolist() == [1, 1, 1, 2, 2, 2, 2, 3]
    assert sum(p.get_height() for p in middle.patches) == 5  # pyright: ignore[reportAttributeAccessIssue]
    assert np.asarray(middle.lines[0].get_xdata()).tolist() == [20, 20]
    heights = [p.get_height() for p in right.patches]  # pyright: ignore[reportAttributeAccessIssue]
    assert heights == pytest.approx([10, 50, 5, 40])


def test_heat_maps_show_every_picture_and_hide_the_empty_places():
    figure = b2i.heat_maps(pictures(), columns=3, label="weight")
    for shown, picture in zip(images(figure), pictures(), strict=True):
        np.testing.assert_allclose(shown, picture.weights)
    titled = [a.get_title() for a in figure.axes if a.images]
    assert titled == [f"{p.title}\n{p.caption}" for p in pictures()]
    assert {a.get_xlabel() for a in figure.axes if a.images} == {"behaviours"}
    ylabels = [a.get_ylabel() for a in figure.axes if a.images]
    assert ylabels == ["interests", "", "", "interests", ""]
    assert sum(not a.axison for a in figure.axes) == 1


@pytest.mark.parametrize("limit", [1.0, 0.4])
def test_heat_maps_share_one_scale(limit):
    figure = b2i.heat_maps(pictures(), label="weight", limit=limit)
    assert {a.images[0].get_clim() for a in figure.axes if a.images} == {(0, limit)}


def test_the_collapse_map_has_a_path_for_each_name_with_every_point_labelled():
    (axes,) = FIGURES["collapse_map"]().axes
    *paths, star = axes.lines
    for line, path in zip(paths, PATHS.values(), strict=True):
        assert np.column_stack(line.get_data()).tolist() == [list(p) for p in path]
    assert np.column_stack(star.get_data()).tolist() == [[0.05, 0.64]]
    labels = [t.get_text() for t in axes.texts if isinstance(t, Annotation)]
    assert labels == ["small", "middle", "large"] * 2


def test_the_view_shows_coupling_cosine_and_where_the_clusters_part():
    figure = FIGURES["coupling_and_cosine"]()
    coupling, cosine = images(figure)
    np.testing.assert_allclose(coupling, WEIGHTS[0])
    np.testing.assert_allclose(cosine, np.eye(3))
    edges = [np.asarray(line.get_xdata())[0] for line in figure.axes[0].lines]
    assert edges == [1.5, 3.5]


def test_the_ladder_has_a_point_for_each_seed_in_percent():
    (axes,) = FIGURES["metric_ladder"]().axes
    points = [c for c in axes.collections if hasattr(c, "get_sizes") and len(c.get_offsets()) == 2]  # pyright: ignore[reportArgumentType]
    drawn = [np.asarray(c.get_offsets())[:, 0].tolist() for c in points]
    assert drawn == [pytest.approx([10, 12]), pytest.approx([20, 21])]
    assert np.asarray(axes.lines[0].get_xdata())[0] == pytest.approx(5)
    assert [t.get_text() for t in axes.texts] == ["floor"]
