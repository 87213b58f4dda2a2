"""The figures of notebook 04 that are about serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n04_training.click_map import ClickMap, Seen, moved
from mindlib.lessons.n04_training.serving_trials import Point


def recall_and_latency(
    curves: Mapping[str, Sequence[Point]], by_interests: Mapping[str, Sequence[Point]]
) -> Figure:
    """Left: recall against the median request; right: p50 and p99 for each K.

    Args:
        curves: the points of some indexes, by catalogue; a point named "exact" is a star.
        by_interests: the points of each K, by catalogue.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.1), layout="constrained")
    for color, (name, points) in zip(COLORS, curves.items(), strict=False):
        found = [p for p in points if p.name != "exact"]
        left.plot([p.p50 for p in found], [p.recall for p in found], "o-", color=color, label=name)
        for point in points:
            if point.name == "exact":
                left.plot(point.p50, point.recall, "*", ms=12, color=color)
    left.set(xscale="log")
    for axis in (left.xaxis.set_major_formatter, left.xaxis.set_minor_formatter):
        axis(LogFormatter(minor_thresholds=(2, 1)))
    left.set(xlabel="median request, ms (star: exact)", ylabel="recall of the top N")
    left.legend(fontsize=8)
    for color, (name, row) in zip(COLORS, by_interests.items(), strict=False):
        k = [p.interests for p in row]
        right.plot(k, [p.p50 for p in row], "o-", color=color, label=f"{name}, p50")
        right.plot(k, [p.p99 for p in row], "o--", color=color, label=f"{name}, p99", mfc="none")
    right.set(xlabel="interests K", ylabel="ms a request", ylim=(0, None))
    right.legend(fontsize=8)
    return figure


def clicked(view: ClickMap, before: Seen, after: Seen, own: Sequence[int], cluster: int) -> Figure:
    """The map with the user's interests before and after, and what her list is made of.

    Args:
        own: the clusters of her true interests, coloured.
        cluster: where she clicks; its items have a colour of their own.
    """
    figure, (axis, bars) = plt.subplots(
        1, 2, figsize=(9.5, 4), layout="constrained", width_ratios=(1.5, 1)
    )
    of = view.item_clusters[1:]
    axis.scatter(*view.items.T, s=3, color=INK, alpha=0.25, lw=0)
    shown = [*own, *([] if cluster in own else [cluster])]
    for color, number in zip(COLORS, shown, strict=False):
        word = "she clicks here" if number == cluster else "hers"
        axis.scatter(
            *view.items[of == number].T, s=7, color=color, alpha=0.8, lw=0,
            label=f"cluster {number} ({word})",
        )  # fmt: skip
    for slot in np.flatnonzero(after.active):
        axis.plot(*after.points[slot], "*", ms=13, color=COLORS[5], mec="white", mew=0.6)
    for old, new in moved(before, after):
        start, end = before.points[old], after.points[new]
        axis.plot(*start, "o", ms=7, mfc="none", mew=1.8, color=COLORS[5])
        arrow = {"arrowstyle": "->", "color": COLORS[5], "lw": 1.6}
        axis.annotate("", end, start, arrowprops=arrow)
    axis.set(xticks=[], yticks=[], title="her interests: rings before, stars after")
    axis.legend(fontsize=8, loc="upper left")
    kept = [c for c in range(len(before.clusters)) if before.clusters[c] or after.clusters[c]]
    places = np.arange(len(kept))
    bars.barh(places - 0.2, before.clusters[kept], 0.36, color=INK, label="before")
    bars.barh(places + 0.2, after.clusters[kept], 0.36, color=COLORS[5], label="after")
    bars.set_yticks(places, [f"cluster {c}" for c in kept], fontsize=8)
    bars.invert_yaxis()
    bars.set(xlabel="items of her top 20")
    bars.xaxis.set_major_locator(MaxNLocator(integer=True))
    bars.legend(fontsize=8)
    return figure
