"""The figures of recorded studies hold the numbers that they are given."""

from math import inf
from typing import Any

import numpy as np
import pytest

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS
from mindlib.lessons.n05_experiments.breadth import Group
from mindlib.lessons.n05_experiments.study_figures import (
    MARKERS,
    ablation,
    convergence,
    factor_curves,
    gains_by_categories,
    metric_by_n,
)

SEEDS = {inf: [0.3, 0.5], 0.0: [0.1], 2.0: [0.2, 0.2, 0.5]}  # in no order
FACTOR = {
    "Recall@50": {"validation": SEEDS, "test": {0.0: [0.05], 2.0: [0.1, 0.2]}},
    "Categories@50": {"validation": SEEDS, "test": SEEDS},
}
CURVES = {"sigma=0.1": [[0.1, 0.2], [0.1, 0.3, 0.4]], "sigma=1": [[0.2]], "sigma=5": [[0.3, 0.1]]}
BY_N = {
    "HitRate": {"YouTube DNN": {100: [0.4, 0.6], 10: [0.1, 0.3]}, "MIND": {10: [0.5], 100: [0.4]}},
    "Recall": {"YouTube DNN": {10: [0.1]}, "MIND": {10: [0.3]}},
}
GROUPS = {
    "MIND − MIND-1": [
        Group("1", 1234, Estimate(0.01, -0.02, 0.05)),
        Group("2", 1, None),
        Group("3 or more", 20, Estimate(-0.01, -0.03, 0.0)),
    ],
    "MIND − YouTube DNN": [Group("1", 0, None)],
}
ROWS = [
    ("alike", Estimate(0.0, -0.01, 0.01)),
    ("better", Estimate(0.02, 0.01, 0.04)),
    ("worse", Estimate(-0.03, -0.04, -0.01)),
]

FIGURES = {
    "factor_curves": lambda: factor_curves(FACTOR, label="power", start=2.0),
    "convergence": lambda: convergence(CURVES, "Recall@50"),
    "metric_by_n": lambda: metric_by_n(BY_N, reference="YouTube DNN"),
    "gains_by_categories": lambda: gains_by_categories(GROUPS, metric="Recall@50"),
    "ablation": lambda: ablation(ROWS, metric="Recall@50"),
}
EMPTY = {
    "factor_curves": lambda: factor_curves({}, label="power"),
    "factor_curves of no value": lambda: factor_curves({"Recall@50": {}}, label="power"),
    "convergence": lambda: convergence({}, "Recall@50"),
    "metric_by_n": lambda: metric_by_n({}),
    "metric_by_n of no model": lambda: metric_by_n({"Recall": {}}),
    "gains_by_categories": lambda: gains_by_categories({}, metric="Recall@50"),
    "gains_by_categories of no group": lambda: gains_by_categories({"a − b": []}, metric="x"),
    "ablation": lambda: ablation([], metric="Recall@50"),
}


def xy(line: Any) -> tuple[list[float], list[float]]:
    x, y = line.get_data()
    return list(map(float, x)), list(map(float, y))


def names(labels: Any) -> list[str]:
    return [label.get_text() for label in labels]


def corners(axis: Any) -> set[tuple[int, int]]:
    """Those of the first band."""
    return {(round(x), round(y)) for x, y in axis.collections[0].get_paths()[0].vertices}


def intervals(container: Any) -> Any:
    """The ends of each interval of an errorbar, as segments."""
    return np.array(container[2][0].get_segments())


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_to_show_is_refused(name):
    with pytest.raises(ValueError, match="nothing to show: expected at least"):
        EMPTY[name]()


def test_a_factor_has_its_values_in_order_at_equal_distances_and_a_dot_for_each_seed():
    figure = FIGURES["factor_curves"]()
    recall, categories = figure.axes
    assert names(recall.get_xticklabels()) == ["0", "2", "∞"]
    assert recall.get_xticks().tolist() == [0, 1, 2]
    validation, test, start = recall.lines
    assert xy(validation)[0] == [0, 1, 2]
    assert xy(validation)[1] == pytest.approx([10, 30, 40])
    assert xy(test)[1] == pytest.approx([5, 15])  # the value that it lacks is left out
    assert xy(start)[0] == [1, 1]
    dots = np.asarray(recall.collections[0].get_offsets())
    assert sorted(map(tuple, dots)) == [
        pytest.approx(dot) for dot in [(0, 10), (1, 20), (1, 20), (1, 50), (2, 30), (2, 50)]
    ]
    # Categories are a number, not a share.
    assert xy(categories.lines[0])[1] == pytest.approx([0.1, 0.3, 0.4])
    assert (recall.get_ylabel(), categories.get_ylabel()) == (
        "Recall@50, percent",
        "Categories@50",
    )


def test_a_start_that_is_none_of_the_values_is_refused():
    with pytest.raises(ValueError, match=r"start=3: expected one of 0, 2, inf"):
        factor_curves(FACTOR, label="power", start=3.0)
    (legend,) = factor_curves(FACTOR, label="power").legends
    assert names(legend.get_texts()) == ["validation", "test"]


def test_training_is_a_line_for_each_seed_and_a_colour_for_each_value():
    figure = FIGURES["convergence"]()
    (axis,) = figure.axes
    given = [line for lines in CURVES.values() for line in lines]
    assert [xy(line)[0] for line in axis.lines] == [[1, 2], [1, 2, 3], [1], [1, 2]]
    for drawn, line in zip(axis.lines, given, strict=True):
        assert xy(drawn)[1] == pytest.approx(100 * np.array(line))
    colors = [line.get_color() for line in axis.lines]
    assert colors[0] == colors[1]
    assert len(set(colors)) == 3
    assert names(figure.legends[0].get_texts()) == list(CURVES)
    (alone,) = convergence({"one": [[0.1]]}, "Recall@50").axes
    low, high = alone.get_xlim()
    assert [tick for tick in alone.get_xticks() if low <= tick <= high] == [1]


def test_a_metric_at_every_n_has_the_means_and_the_reach_of_the_seeds():
    (hits, recall) = metric_by_n(BY_N).axes
    youtube, mind = hits.lines
    assert xy(youtube) == ([10, 100], pytest.approx([20, 50]))
    assert xy(mind) == ([10, 100], pytest.approx([50, 40]))
    assert corners(hits) >= {(10, 10), (10, 30), (100, 40), (100, 60)}
    assert hits.get_xscale() == "log"
    assert names(recall.get_xticklabels()) == ["10"]


def test_the_second_row_is_what_a_model_has_beyond_the_reference():
    figure = FIGURES["metric_by_n"]()
    top, _, hits, recall = figure.axes
    youtube, mind = hits.lines
    assert xy(youtube)[1] == pytest.approx([0, 0])
    assert xy(mind)[1] == pytest.approx([30, -10])
    # The reference's own seeds stay around zero, so that a difference can be judged.
    assert corners(hits) >= {(10, -10), (10, 10)}
    assert xy(recall.lines[1])[1] == pytest.approx([20])
    # All of it is in sight, on an axis with room for small differences beside large ones.
    low, high = hits.get_ylim()
    assert low < -10 < 30 < high
    assert {0, 1, 2, 10, 20} <= set(hits.get_yticks())
    heights = hits.transData.transform([(10, 0), (10, 1), (10, 20), (10, 21)])[:, 1]
    assert heights[1] - heights[0] > 3 * (heights[3] - heights[2])
    assert xy(top.lines[1])[1] == pytest.approx([50, 40])
    assert "beyond YouTube DNN" in hits.get_ylabel()
    assert names(figure.legends[0].get_texts()) == ["YouTube DNN", "MIND"]


def test_a_reference_that_is_no_model_is_refused_and_more_models_than_colours_differ():
    with pytest.raises(ValueError, match=r"reference='WALS': expected one of YouTube DNN, MIND"):
        metric_by_n(BY_N, reference="WALS")
    many = {f"model {k}": {10: [0.1 * k]} for k in range(2 * len(COLORS))}
    (axis,) = metric_by_n({"Recall": many}).axes
    looks = {(line.get_color(), line.get_linestyle()) for line in axis.lines}
    assert len(looks) == len(many)
    assert len(set(MARKERS)) == len(COLORS)


def test_gains_have_their_intervals_and_groups_without_one_only_a_name():
    figure = FIGURES["gains_by_categories"]()
    first, second = figure.axes
    (bars,) = first.containers
    assert xy(bars[0]) == ([0, 2], pytest.approx([1, -1]))
    np.testing.assert_allclose(intervals(bars), [[[0, -2], [0, 5]], [[2, -3], [2, 0]]], atol=1e-12)
    assert names(first.get_xticklabels()) == ["1\n1,234", "2\n1", "3+\n20"]
    assert not second.containers
    assert [axis.get_title() for axis in figure.axes] == list(GROUPS)
    assert first.get_ylim() == second.get_ylim()


def test_changes_are_sorted_and_their_colour_says_where_the_interval_lies():
    figure = FIGURES["ablation"]()
    (axis,) = figure.axes
    assert names(axis.get_yticklabels()) == ["worse", "alike", "better"]
    assert [xy(bars[0])[0] for bars in axis.containers] == [
        pytest.approx([value]) for value in (-3, 0, 2)
    ]
    ends = np.concatenate([intervals(bars)[:, :, 0] for bars in axis.containers])
    np.testing.assert_allclose(ends, [[-4, -1], [-1, 1], [1, 4]])
    # The first is at the top.
    assert axis.get_ylim()[0] > axis.get_ylim()[1]
    colors = dict(
        zip(
            names(figure.legends[0].get_texts()),
            (handle.get_color() for handle in figure.legends[0].get_lines()),
            strict=True,
        )
    )
    shown = [bars[0].get_color() for bars in axis.containers]
    assert shown == [colors["worse"], colors["undecided"], colors["better"]]
    assert len(set(shown)) == 3
