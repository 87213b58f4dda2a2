"""The figures of notebook 01 draw the numbers that they are given."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.quiver import Quiver

from mindlib.evaluation import Estimate
from mindlib.lessons.n01_routing import figures as pictures


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def x(line):
    return np.asarray(line.get_xdata())


def y(line):
    return np.asarray(line.get_ydata())


def ends(arrows):
    return np.c_[arrows.U, arrows.V]


def heat_maps(figure):
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]


def test_squash_picture():
    s = np.linspace(0.1, 3, 20)
    before, after = random(4, 2), random(4, 2, seed=1)
    figure = pictures.squash_picture(s, s / 5, s / 7, s / 9, before, after)
    left, middle, right = figure.axes
    np.testing.assert_array_equal(y(left.lines[0]), s / 5)
    np.testing.assert_array_equal(y(right.lines[0]), s / 7)
    np.testing.assert_array_equal(y(right.lines[1]), s / 9)
    drawn = [q for q in middle.collections if isinstance(q, Quiver)]
    np.testing.assert_array_equal(ends(drawn[0]), before)
    np.testing.assert_array_equal(ends(drawn[1]), after)


def test_by_hand_writes_the_coupling_and_draws_votes_and_capsules():
    votes, coupling, capsules = random(3, 2, 2), random(4, 3, 2, seed=1), random(4, 2, 2, seed=2)
    figure = pictures.by_hand(votes, coupling, capsules)
    panels = np.array(figure.axes).reshape(2, 4)
    for j in range(2):
        for t in range(4):
            texts = [text.get_text() for text in panels[j, t].texts]
            assert texts == [f"{w:.3f}" for w in coupling[t, :, j]]
            quivers = [q for q in panels[j, t].collections if isinstance(q, Quiver)]
            for i in range(3):
                np.testing.assert_array_equal(ends(quivers[i]), votes[i : i + 1, j])
            pin = next(line for line in panels[j, t].lines if line.get_marker() == "o")
            assert (x(pin)[1], y(pin)[1]) == tuple(capsules[t, j])
            widths = np.array([q.width for q in quivers[:3]], dtype=float)
            assert np.argsort(widths).tolist() == np.argsort(coupling[t, :, j]).tolist()
            assert f"{np.linalg.norm(capsules[t, j]):.2f}" in panels[j, t].get_title()


def test_climbs_draws_medians():
    values = {"G": {"a": random(6, 9), "b": random(6, 9, seed=1)}, "F": {"a": random(6, 9, seed=2)}}
    figure = pictures.climbs(values)
    for axis, (name, ways) in zip(figure.axes, values.items(), strict=True):
        assert axis.get_title() == name
        for line, lines in zip(axis.lines, ways.values(), strict=True):
            np.testing.assert_allclose(y(line), np.median(lines, axis=1))


def test_film_has_a_column_for_each_round_and_the_entropy_below():
    logits, coupling, entropy = random(5, 6, 3), random(5, 6, 3, seed=1), random(5, 6, seed=2)
    groups = np.array([0, 0, 1, 1, 2, 2])
    figure = pictures.film(logits, coupling, entropy, groups)
    maps = heat_maps(figure)
    np.testing.assert_array_equal(maps[:5], logits.swapaxes(1, 2))
    np.testing.assert_array_equal(maps[5:10], coupling.swapaxes(1, 2))
    lines = next(axis for axis in figure.axes if axis.get_xlabel() == "round").lines
    for i, line in enumerate(lines):
        np.testing.assert_array_equal(y(line), entropy[:, i])


def test_one_round_shows_the_round_that_is_asked_for():
    logits, coupling, entropy = random(5, 6, 3), random(5, 6, 3, seed=1), random(5, 6, seed=2)
    closeness = random(5, 3, 3, seed=3)
    figure = pictures.one_round(logits, coupling, entropy, closeness, np.arange(6) // 2, 4)
    maps = heat_maps(figure)
    for expected in (logits[3].T, coupling[3].T, closeness[3]):
        assert any(m.shape == expected.shape and np.array_equal(m, expected) for m in maps)
    assert "round 4" in figure.axes[0].get_title()


def test_settling():
    changes, shares = {"a": random(7, 11)}, {"x": np.linspace(0, 1, 8)}
    left, right = pictures.settling(changes, shares, usual=3).axes
    np.testing.assert_allclose(y(left.lines[0]), np.median(changes["a"], axis=1))
    np.testing.assert_array_equal(y(right.lines[0]), shares["x"])
    assert x(left.lines[1])[0] == 3


def test_slow_cases():
    cases = {"a": random(9, 4), "b": random(9, 4, seed=1)}
    figure = pictures.slow_cases(cases, np.array([0, 0, 1, 1]), usual=3)
    for axis, (name, lines) in zip(figure.axes, cases.items(), strict=True):
        assert axis.get_title() == name
        for i in range(lines.shape[1]):
            np.testing.assert_array_equal(y(axis.lines[i]), lines[:, i])
        colors = [line.get_color() for line in axis.lines]
        assert colors[0] == colors[1] != colors[2] == colors[3]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["group 1", "group 2"]


def test_padding_effect():
    lengths, sums = {"a": [0.9, 0.8], "b": [0.5, 0.1]}, {"a": [1.0, 1.0], "b": [0.5, 0.2]}
    left, right = pictures.padding_effect([5, 10], lengths, sums).axes
    for axis, values in ((left, lengths), (right, sums)):
        for line, expected in zip(axis.lines, values.values(), strict=True):
            assert list(x(line)) == [5, 10]
            assert list(y(line)) == expected


def test_recovery_draws_share_interval_and_chance():
    shares = {"k": {"x": Estimate(0.6, 0.5, 0.7), "y": Estimate(0.2, 0.1, 0.3)}}
    (axis,) = pictures.recovery(shares, chance=0.25).axes
    intervals = [c for c in axis.collections if isinstance(c, LineCollection)]
    reach = [np.asarray(c.get_segments()[0])[:, 0].tolist() for c in intervals]
    assert reach == [[0.5, 0.7], [0.1, 0.3]]
    assert [x(line)[0] for line in axis.lines] == [0.6, 0.2, 0.25]
