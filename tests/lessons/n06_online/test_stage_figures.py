"""The figure of latency by stage holds the numbers that it is given."""

import numpy as np
import pytest

from mindlib.lessons.n06_online.stage_figures import latency_by_stage


def test_a_stage_is_a_line_from_its_median_to_its_99th_percentile():
    figure = latency_by_stage({"store": (0.5, 2.0), "rank": (7.0, 16.0)}, {"rank": 15.0})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["store", "rank"]
    points = [[tuple(xy) for xy in np.asarray(line.get_xydata()).tolist()] for line in axis.lines]
    assert points == [
        [(0.5, 0.0), (2.0, 0.0)],
        [(0.5, 0.0)],
        [(2.0, 0.0)],
        [(7.0, 1.0), (16.0, 1.0)],
        [(7.0, 1.0)],
        [(16.0, 1.0)],
        [(15.0, 1.0)],
    ]
    assert axis.get_xscale() == "log"
    assert axis.get_ylim() == (1.5, -0.5)  # the first is at the top
    assert [text.get_text() for text in axis.texts] == ["0.5 to 2", "7 to 16"]
    legend = axis.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "half take at most",
        "99 in 100 take at most",
        "the aim",
    ]


def test_an_aim_is_of_a_stage_that_is_there():
    with pytest.raises(ValueError, match="'recall' is not in list"):
        latency_by_stage({"store": (0.5, 2.0)}, {"recall": 15.0})
