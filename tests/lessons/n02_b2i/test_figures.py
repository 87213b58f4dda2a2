"""The figures of notebook 02 hold the numbers that they are given."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from mindlib.lessons.common.style import COLORS
from mindlib.lessons.n02_b2i import figures

RNG = np.random.default_rng(0)
PLANE = RNG.normal(size=(6, 2))
INTERESTS = RNG.normal(size=(3, 2)) / 3
COUPLING = RNG.dirichlet(np.ones(3), 6).T
RESULT = (INTERESTS, COUPLING)
PATHS = {name: [(1.0, 1.0), (0.5, 0.8), (0.1, 0.2)] for name in ("a", "b", "c")}
ENDS = {name: (f"{name} starts", f"{name} stops") for name in PATHS}
TITLES, GENRES = list("abcdef"), list("uvwxyz")

FIGURES = {
    "rounds_in_the_plane": lambda: figures.rounds_in_the_plane(
        PLANE, {"zero": [RESULT] * 2, "random": [RESULT] * 2}, [1, 3]
    ),
    "films_and_interests": lambda: figures.films_and_interests(
        TITLES, GENRES, COUPLING, ["Film-Noir", "Animation", "War"]
    ),
    "collapse_map": lambda: figures.collapse_map(
        PATHS, ENDS, (0.0, 0.64), {"one": COUPLING, "two": COUPLING[:, ::-1], "three": COUPLING}
    ),
}


def test_a_behavior_in_the_plane_has_the_mixed_color_of_its_interests():
    axis = FIGURES["rounds_in_the_plane"]().axes[0]
    palette = np.array([to_rgb(color) for color in COLORS[:3]])
    (dots,) = axis.collections
    np.testing.assert_allclose(dots.get_facecolor()[:, :3], COUPLING.T @ palette)  # pyright: ignore[reportIndexIssue, reportCallIssue, reportArgumentType]
    np.testing.assert_allclose(np.asarray(dots.get_offsets()), PLANE)
    assert [arrow.xyann for arrow in axis.texts] == [(0, 0)] * 3  # pyright: ignore[reportAttributeAccessIssue]


def test_there_is_a_panel_for_each_number_of_iterations_and_each_case():
    axes = FIGURES["rounds_in_the_plane"]().axes
    assert [axis.get_title() for axis in axes] == ["r = 1", "r = 3", "", ""]
    assert [axis.get_ylabel() for axis in axes] == ["zero", "", "random", ""]


def test_films_are_in_the_order_of_their_heaviest_interest():
    (axis,) = FIGURES["films_and_interests"]().axes
    bars = [bar for bar in axis.patches if isinstance(bar, Rectangle)]
    shown = np.array([bar.get_width() / 0.8 for bar in bars]).reshape(3, 6).T
    assert sorted(shown.argmax(1)) == list(shown.argmax(1))
    order = [TITLES.index(label.get_text()) for label in axis.get_yticklabels()]
    np.testing.assert_allclose(shown, COUPLING.T[order])
    colors = [to_rgb(label.get_color()) for label in axis.get_yticklabels()]
    assert colors == [to_rgb(COLORS[k]) for k in shown.argmax(1)]
    texts = [text.get_text() for text in axis.texts]
    assert texts == ["1: Film-Noir", "2: Animation", "3: War", *(GENRES[i] for i in order)]


def test_the_collapse_map_has_a_path_for_each_name_with_its_ends_and_the_examples():
    axis, *small = FIGURES["collapse_map"]().axes
    *paths, star = axis.lines
    for line, path in zip(paths, PATHS.values(), strict=True):
        assert np.column_stack(line.get_data()).tolist() == [list(p) for p in path]
    assert np.column_stack(star.get_data()).tolist() == [[0.0, 0.64]]
    points = {text.get_text(): text.xy for text in axis.texts if isinstance(text, Annotation)}
    for name, letter in zip(PATHS, "ABC", strict=True):
        assert points[f"{name} starts"] == (1.0, 1.0)
        assert points[f"{name} stops"] == points[letter] == (0.1, 0.2)
    assert [axis.get_title() for axis in small[:3]] == ["A: one", "B: two", "C: three"]
    for panel, coupling in zip(small, (COUPLING, COUPLING[:, ::-1], COUPLING), strict=False):
        shares = np.asarray(panel.images[0].get_array())
        np.testing.assert_allclose(shares, coupling / coupling.sum(1, keepdims=True))
