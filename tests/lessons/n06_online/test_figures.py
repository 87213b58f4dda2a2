"""The figures of notebook 06 hold the numbers that they are given."""

import numpy as np
import pytest

from mindlib.evaluation import Estimate
from mindlib.lessons.n06_online import figures

MILLISECONDS = {"store": 0.21, "extract": 3.2, "recall": 1.3, "rank": 8.7, "rerank": 0.04}
SOME = [Estimate(0.001, -0.001, 0.003), Estimate(0.002, 0.001, 0.003)]


def system():
    return figures.system(MILLISECONDS, behaviors=27, interests=4, candidates=1000, shown=10)


def a_over_a():
    p_values = {"user": np.array([0.01, 0.02, 0.3, 0.99]), "impression": np.full(4, 0.01)}
    looks = {"peeking": np.array([0.05, 0.2]), "bounds": np.array([0.0, 0.05])}
    return figures.a_over_a(p_values, looks, bins=4)


def power():
    effects = np.linspace(0.01, 0.1, 10)
    return figures.power(effects, {"one": effects * 10, "six": effects * 9})


def arms():
    runs = np.array([[0.0005, 0.0015], [0.001, 0.003]])
    return figures.arms(["CF", "MIND"], SOME, SOME, runs)


def nights():
    return figures.nights([0.5, 0.46, 0.42], [True, False], tolerance=0.1, reference=0.1)


FIGURES = {draw.__name__: draw for draw in (system, a_over_a, power, arms, nights)}


def test_the_system_has_the_time_of_each_stage():
    texts = [text.get_text() for text in system().axes[0].texts]
    for stage, value in MILLISECONDS.items():
        assert figures.STAGES[stage] in texts
        assert f"{value:.2g} ms" in texts
    assert {"27\nbehaviors", "4 vectors", "1,000\ncandidates", "list of\n10"} <= {*texts}


def test_the_texts_of_the_system_do_not_overlap():
    figure = system()
    figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text()]
    for n, box in enumerate(boxes):
        assert not [other for other in boxes[n + 1 :] if box.overlaps(other)]
        assert figure.bbox.containsx(box.x0)
        assert figure.bbox.containsx(box.x1)


def test_p_values_and_stopped_tests_are_in_percent():
    left, right = a_over_a().axes
    assert left.patches[0].get_data().values.tolist() == [50, 25, 0, 25]  # pyright: ignore
    np.testing.assert_allclose(np.asarray(right.lines[0].get_ydata()), [5, 20])


def test_the_dot_of_a_power_curve_is_its_minimum_detectable_effect():
    (axis,) = power().axes
    assert axis.lines[2].get_xdata() == pytest.approx([8.0])
    assert axis.texts[0].get_text() == "  one\n  MDE +8.0 %"


def test_an_arm_has_two_intervals_and_its_runs():
    (axis,) = arms().axes
    users, runs = axis.containers
    np.testing.assert_allclose(users[0].get_xdata(), [0.1, 0.2])
    np.testing.assert_allclose(runs[0].get_xdata(), [0.1, 0.2])
    assert axis.get_yticklabels()[1].get_text() == "MIND"


def test_the_nights_that_the_reference_stops_are_marked():
    (axis,) = nights().axes
    by_label = {line.get_label(): line for line in axis.lines}
    assert by_label["within both limits"].get_xdata().tolist() == [0, 1]  # pyright: ignore
    assert by_label["below the reference's limit"].get_xdata().tolist() == [2]  # pyright: ignore
    limits = by_label["limit of yesterday's version: 10 % below the night before"]
    np.testing.assert_allclose(np.asarray(limits.get_ydata()), [0.45, 0.414])
