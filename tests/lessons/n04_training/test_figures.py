"""The figures of notebook 04 show the numbers that they are given."""

from typing import Any

import numpy as np
import torch

from mindlib.evaluation import Estimate
from mindlib.lessons.n04_training import figures as plots
from mindlib.lessons.n04_training.clicks import State, Viewer
from mindlib.lessons.n04_training.sampled import Bias

BIASES = [Bias(Estimate(-0.4, -0.5, -0.3), 0.6, 0.1), Bias(Estimate(0.1, 0.0, 0.3), 0.2, 0.05)]


class Turning(Viewer):
    """Each click turns the second of two interests by 30 degrees; the first does not turn."""

    def __init__(self) -> None:
        object.__setattr__(self, "offered", {"War": [1, 0, 2]})

    def after(self, genre: str, clicks: int) -> State:
        turned = [np.cos(clicks * np.pi / 6), np.sin(clicks * np.pi / 6), 0.0]
        vectors = torch.tensor([[0.0, 0.0, 1.0], turned], dtype=torch.float32)
        return State(vectors, torch.eye(2, 3))


FIGURES = {
    "bias": lambda: plots.bias_by_number(
        (8, 64), {"uniform, logQ": BIASES, "uniform, no logQ": BIASES}, 10
    ),
    "hit_rates": lambda: plots.hit_rates(
        {
            "a, by hand": Estimate(0.2, 0.1, 0.4),
            "a, mindlib.fit": BIASES[1].loss,
            "b": BIASES[1].loss,
        }
    ),
    "rotations": lambda: plots.rotations(Turning(), ["a, b", "c"], ["Ran", "Glory", ""], "War"),
}


def data(line: Any, axis: str = "y") -> list[float]:
    return [float(value) for value in getattr(line, f"get_{axis}data")()]


def test_bias_shows_estimates_with_their_intervals():
    left, right = FIGURES["bias"]().axes
    first, second = left.containers
    np.testing.assert_allclose(data(first[0]), [-0.4, 0.1])
    ends = np.array([s[:, 1] for s in first[2][0].get_segments()])
    np.testing.assert_allclose(ends, [[-0.5, -0.3], [0.0, 0.3]])
    assert (first[0].get_linestyle(), second[0].get_linestyle()) == ("-", "--")
    np.testing.assert_allclose(data(right.lines[0]), [60, 20])


def test_hit_rates_are_points_with_intervals_in_percent():
    (axis,) = FIGURES["hit_rates"]().axes
    first = axis.containers[0]
    assert data(first[0], "x") == [20]
    np.testing.assert_allclose(first[2][0].get_segments()[0][:, 0], [10, 40])
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in axis.texts] == ["20.0  by hand", "10.0  mindlib.fit", "10.0  "]


def test_rotations_show_both_angles_of_each_interest_and_name_the_films():
    (axis,) = FIGURES["rotations"]().axes
    once, twice = ([bar.get_width() for bar in bars] for bars in axis.containers)
    np.testing.assert_allclose([once, twice], [[0, 30], [0, 60]], atol=0.05)
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a, b", "c"]
    assert [t.get_text() for t in axis.texts][::2] == [
        "0°  after one click",
        "0°  after two clicks",
    ]
    assert axis.get_title(loc="left") == "War films clicked: Glory,\nthen Ran"
