"""The figures of notebook 04 show the numbers that they are given."""

from typing import Any

import numpy as np
import torch

from mindlib.evaluation import Estimate
from mindlib.lessons.n04_training import figures as plots
from mindlib.lessons.n04_training.clicks import ClickMap, State
from mindlib.lessons.n04_training.sampled import Bias

BIASES = [Bias(Estimate(-0.4, -0.5, -0.3), 0.6, 0.1), Bias(Estimate(0.1, 0.0, 0.3), 0.2, 0.05)]


class TurningMap(ClickMap):
    """The first of two interests turns by 30 degrees at the first click; the second does not."""

    def after(self, genre: str, clicks: int, top: int = 20) -> State:
        turned = [np.cos(np.pi / 6), np.sin(np.pi / 6), 0.0] if clicks else [1.0, 0.0, 0.0]
        vectors = torch.tensor([turned, [0.0, 0.0, 1.0]], dtype=torch.float32)
        return State(vectors, torch.eye(2, len(self.past)), [1, 2])


class Items:
    @staticmethod
    def item_vectors() -> torch.Tensor:
        return torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def clicked():
    view = object.__new__(TurningMap)
    for name, value in {
        "model": Items, "past": [1, 2, 3], "offered": {"War": [4, 5]},
        "directions": torch.eye(3)[:, :2],
    }.items():  # fmt: skip
        object.__setattr__(view, name, value)
    return plots.clicked(view, ["a, b", "c"], "War", 1)


FIGURES = {
    "bias": lambda: plots.bias_by_number((8, 64), {"a": BIASES, "no logQ": BIASES}, ["no logQ"]),
    "hit_rates": lambda: plots.hit_rates(
        {"a": Estimate(0.2, 0.1, 0.4), "b": BIASES[1].loss}, ["b"]
    ),
    "clicked": clicked,
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


def test_clicked_shows_how_far_each_interest_turns():
    _, bars = clicked().axes
    np.testing.assert_allclose([bar.get_width() for bar in bars.containers[0]], [30, 0], atol=0.05)
    assert [t.get_text() for t in bars.get_yticklabels()] == ["a,\nb", "c"]
