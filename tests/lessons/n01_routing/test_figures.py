"""The figures of notebook 01 draw the numbers that they are given."""

import numpy as np
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle, Wedge
from matplotlib.quiver import Quiver

from mindlib.lessons.common.style import COLORS
from mindlib.lessons.n01_routing import figures
from mindlib.lessons.n01_routing.iterations import Iterations

TITLES = ["The Third Man", "Fantasia", "Stalag 17"]
INTERESTS = ["film noir", "animation"]


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def seen(iterations=6):
    weights = torch.from_numpy(random(iterations, 2, 3, seed=1))
    weights = weights / weights.sum(1, keepdim=True)
    return Iterations(weights.log(), weights, torch.from_numpy(random(iterations, 2, 2, seed=2)))


FIGURES = {
    "loop": figures.loop,
    "by_hand": lambda: figures.by_hand(random(2, 3, 2), random(3, 2, 3), random(3, 2, 2)),
    "iterations": lambda: figures.iterations(seen(), TITLES, INTERESTS, (1, 3)),
    "one_iteration": lambda: figures.one_iteration(
        seen(), torch.from_numpy(random(3, 2)), TITLES, INTERESTS, 2
    ),
    "sums_of_weights": lambda: figures.sums_of_weights({"a": random(2, 3)}, TITLES, INTERESTS),
}


def test_by_hand_writes_the_weights_and_draws_votes_and_capsules():
    votes, weights, capsules = random(2, 3, 2), random(4, 2, 3, seed=1), random(4, 2, 2, seed=2)
    panels = np.array(figures.by_hand(votes, weights, capsules).axes).reshape(2, 4)
    for j in range(2):
        for t in range(4):
            texts = [text.get_text() for text in panels[j, t].texts]
            assert texts == [f"{w:.3f}" for w in weights[t, j]]
            quivers = [q for q in panels[j, t].collections if isinstance(q, Quiver)]
            ends = np.array([np.c_[q.U, q.V][0] for q in quivers])
            np.testing.assert_array_equal(ends, votes[j])
            widths = np.array([q.width for q in quivers], dtype=float)
            assert np.argsort(widths).tolist() == np.argsort(weights[t, j]).tolist()


def test_iterations_shows_the_weights_and_frames_the_largest_of_each_film():
    weights, shown = seen().weights.numpy(), (2, 3, 6)
    final = weights[-1].argmax(0)
    axes = figures.iterations(seen(), TITLES, INTERESTS, shown).axes
    for t, axis in zip(shown, axes, strict=True):
        w = weights[t - 1]
        np.testing.assert_array_equal(np.asarray(axis.images[0].get_array()), w)
        frames = [part for part in axis.patches if isinstance(part, Rectangle)]
        assert [round(part.get_center()[1]) for part in frames] == w.argmax(0).tolist()
        solid = [part.get_linestyle() == "-" for part in frames]
        assert solid == (w.argmax(0) == final).tolist()


def test_a_film_lies_in_the_sector_of_the_capsule_nearest_in_direction():
    capsules = seen().capsules[0].numpy()
    figure = figures.one_iteration(seen(), torch.from_numpy(random(3, 2)), TITLES, INTERESTS, 1)
    sectors = {
        to_hex(part.get_facecolor()): part
        for part in figure.axes[0].findobj(Wedge)
        if isinstance(part, Wedge)
    }
    for x, y in random(20, 2, seed=3):
        angle = np.degrees(np.arctan2(y, x))
        nearest = (capsules @ [x, y] / np.linalg.norm(capsules, axis=1)).argmax()
        sector = sectors[COLORS[nearest]]
        assert sector.theta1 <= angle <= sector.theta2


def test_films_and_their_bars_have_one_number_and_all_iterations_have_one_layout():
    layouts = []
    for t in (1, 6):
        films = torch.from_numpy(random(3, 2))
        figure = figures.one_iteration(seen(), films, TITLES, INTERESTS, t)
        figure.canvas.draw()
        layouts.append([axis.get_position().bounds for axis in figure.axes])
        plane, bars = figure.axes
        numbers = [text.get_text() for text in plane.texts[:3]]
        assert numbers == [label.get_text().split()[0] for label in bars.get_xticklabels()]
        np.testing.assert_array_equal(
            [text.get_position()[1] for text in plane.texts[:3]], films[:, 1]
        )
        boxes = [part for part in bars.patches if isinstance(part, Rectangle)]
        centers = [bar.get_x() + bar.get_width() / 2 for bar in boxes]
        np.testing.assert_allclose(centers, np.repeat(range(3), 2))
    np.testing.assert_allclose(*layouts)


def test_sums_of_weights_writes_the_sums_of_both_axes():
    w = random(2, 3)
    (axis,) = figures.sums_of_weights({"a": w}, TITLES, INTERESTS).axes
    texts = [text.get_text() for text in axis.texts]
    assert texts[6:] == [f"Σ {x:.2f}" for x in (*w.sum(0), *w.sum(1))]
