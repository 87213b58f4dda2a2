"""The refresh's figure shows the table's numbers."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle

from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n06_online.refresh_figures import refresh_week
from mindlib.lessons.n06_online.refresh_week import FROZEN, Evening

WAYS = {"from scratch": 1.0, "warm": 0.25, FROZEN: 0.0}


def rows() -> list[Evening]:
    found = []
    for day in range(3):
        for place, (way, seconds) in enumerate(WAYS.items()):
            gain = 0.01 * day * (2 - place)
            found.append(
                Evening(
                    day, way, 100, 10, 50, 1.0, 0.5 + gain, gain, gain - 0.02, gain + 0.03,
                    3, 30, None, seconds,
                )
            )  # fmt: skip
    return found


def line_of(container: Any) -> tuple:
    assert isinstance(container, ErrorbarContainer)
    return container.lines


def test_each_way_has_its_line_its_gain_and_its_time():
    figure = refresh_week(rows())
    recall, gain, cost = figure.axes
    lines = {c.get_label(): line_of(c)[0] for c in recall.containers}
    assert list(lines) == list(WAYS)
    for way, line in lines.items():
        assert line.get_ydata().tolist() == [r.recall for r in rows() if r.way == way]
    assert [line.get_color() for line in lines.values()] == [*COLORS[:2], INK]
    # The model of day 0 gains nothing over itself: it is the line at 0.
    assert len(gain.containers) == len(WAYS) - 1
    for container, way in zip(gain.containers, WAYS, strict=False):
        own = [row for row in rows() if row.way == way]
        line, _, (bars,) = line_of(container)
        assert line.get_ydata().tolist() == [row.gain for row in own]
        for segment, row in zip(bars.get_segments(), own, strict=True):
            assert segment[:, 1].tolist() == pytest.approx([row.low, row.high])
    bars = [patch for patch in cost.patches if isinstance(patch, Rectangle)]
    assert [bar.get_width() for bar in bars] == [1.0, 0.25]
    assert [text.get_text() for text in cost.texts] == ["1", "0.25"]
