"""The figures of one request hold the numbers that they are given."""

import itertools

import numpy as np
import torch
from matplotlib.colors import to_rgb

from mindlib.lessons.common.style import COLORS
from mindlib.lessons.n06_online import figures as plots
from mindlib.lessons.n06_online.deployment import Visitor, Walk
from mindlib.online.serving.stages import Candidates

MILLISECONDS = {"store": 0.21, "extract": 3.2, "recall": 1.3, "rank": 8.7, "rerank": 0.04}
# Items 1 and 2 are of cluster 0, items 3 and 4 of cluster 1, items 5 and 6 of cluster 2.
CLUSTERS = np.array([-1, 0, 0, 1, 1, 2, 2])


def listed(items, interests):
    return Candidates(np.array(items), np.arange(len(items), 0.0, -1), np.array(interests))


def walked(interests, candidates, shown):
    return Walk(torch.zeros(interests, 2), candidates, shown)


def visitor():
    past = np.array([1, 3])
    popular = {0: np.array([2]), 1: np.array([4]), 2: np.array([5, 6])}
    profile = np.zeros(0, dtype=np.int64)
    return Visitor(past, profile, (0, 1), CLUSTERS, popular)


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_the_system_has_each_stages_time_and_the_sum_beside_the_papers():
    figure = plots.system(MILLISECONDS, interests=4, candidates=1000, shown=100, paper=12.0)
    (axis,) = figure.axes
    said = texts(axis)
    for stage, value in MILLISECONDS.items():
        assert plots.STAGES[stage] in said
        assert f"{value:.2g} ms" in said
    assert "4.5 ms (paper: under 12 ms)" in said
    assert "4 vectors" in said
    assert "1,000\ncandidates" in said
    assert any("100" in text for text in said)


def test_the_systems_texts_do_not_lie_on_each_other():
    figure = plots.system(MILLISECONDS, interests=4, candidates=1000, shown=100)
    figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text()]
    for n, box in enumerate(boxes):
        assert not [other for other in boxes[n + 1 :] if box.overlaps(other)]
        assert figure.bbox.containsx(box.x0)
        assert figure.bbox.containsx(box.x1)


def test_clicks_are_put_on_the_past_and_candidates_are_counted_by_interest_and_cluster():
    found = listed([2, 4, 5, 6], [0, 1, 1, 1])
    before = walked(1, listed([2], [0]), listed([2], [0]))
    figure = plots.watched(visitor(), before, walked(2, found, listed([4, 5], [1, 1])), 2, 2)
    past, interests, page = figure.axes
    assert [t.get_text() for t in past.get_yticklabels()] == [
        "cluster 0", "cluster 1", "cluster 2 (clicks)",
    ]  # fmt: skip
    behaviors, clicked = past.containers
    assert [bar.get_width() for bar in behaviors] == [1, 1, 0]
    assert [bar.get_width() for bar in clicked] == [2]
    widths = [[bar.get_width() for bar in part] for part in interests.containers]
    # Of each interest: cluster 0, cluster 1, cluster 2, others.
    assert [w for (w,) in widths] == [1, 0, 0, 0, 0, 1, 2, 0]
    assert [t for t in texts(page) if "·" in t] == ["0 · 0", "1 · 1", "2 · 1"]


def test_a_cluster_has_one_colour_in_all_three_pictures():
    found = listed([2, 4, 5, 6], [0, 1, 1, 1])
    walk = walked(2, found, listed([5], [1]))
    past, interests, page = plots.watched(visitor(), walk, walk, 2, 1).axes
    third = to_rgb(COLORS[2])
    assert past.containers[1][0].get_facecolor()[:3] == third
    assert interests.containers[6][0].get_facecolor()[:3] == third
    assert page.patches[0].get_facecolor()[:3] == third


def test_without_clicks_nothing_is_hatched():
    walk = walked(1, listed([2], [0]), listed([2], [0]))
    past, *_ = plots.watched(visitor(), walk, walk, 2, 0).axes
    assert len(past.containers) == 1


def test_the_clusters_of_a_list():
    assert plots.kinds_of(visitor(), listed([6, 1, 4], [0, 0, 0])).tolist() == [2, 0, 1]


def test_times_below_a_millisecond_have_labels_that_do_not_lie_on_each_other():
    figure = plots.latency({"store": (0.03, 0.4), "rank": (7.0, 90.0)}, {"rank": 15.0})
    figure.draw_without_rendering()
    (axis,) = figure.axes
    assert not [t for t in axis.get_xticklabels(minor=True) if t.get_text()]
    low, high = axis.get_xlim()
    labels = [t for t in axis.get_xticklabels() if low <= t.get_position()[0] <= high]
    assert {"0.1", "1", "10"} <= {t.get_text() for t in labels}
    boxes = [t.get_window_extent() for t in labels]
    assert not [1 for a, b in itertools.pairwise(boxes) if a.overlaps(b)]
