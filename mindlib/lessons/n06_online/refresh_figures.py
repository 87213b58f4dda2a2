"""The figure of the daily refresh: how good each way is by the day, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n06_online.refresh_week import FROZEN, Evening


def refresh_week(rows: Sequence[Evening], metric: str = "Recall@50") -> Figure:
    """Each way's recall by day, what it gains over no refresh, and its training time.

    The gains have the 95 % intervals of the differences on the same cases, which are much narrower
    than those of the recalls themselves would be.

    Args:
        rows: of `simulate_week`, of more than one evening.
        metric: what its recall is, for the axis.
    """
    figure, (recall, gain, cost) = plt.subplots(
        1, 3, figsize=(10, 3.2), layout="constrained", width_ratios=(1.2, 1.2, 1)
    )
    ways = list(dict.fromkeys(row.way for row in rows))
    trained = [way for way in ways if way != FROZEN]
    colors = dict(zip(trained, COLORS, strict=False)) | {FROZEN: INK}
    for place, way in enumerate([*trained, FROZEN]):
        own = [row for row in rows if row.way == way]
        days = np.array([row.day for row in own])
        form = {"fmt": "o--" if way == FROZEN else "o-", "ms": 4, "color": colors[way]}
        recall.errorbar(days, [row.recall for row in own], label=way, **form)
        if way == FROZEN:
            continue
        middle = np.array([row.gain for row in own])
        reach = np.array([(row.gain - row.low, row.high - row.gain) for row in own]).T
        # Side by side, so that the intervals can be told apart.
        beside = days + 0.12 * (place - (len(trained) - 1) / 2)
        gain.errorbar(beside, middle, yerr=reach, elinewidth=0.9, **form)
    gain.axhline(0, ls="--", lw=1, color=INK)
    for axis in (recall, gain):
        axis.set(xlabel="evening")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    recall.set(ylabel=f"{metric} on the next day", title="how good")
    gain.set(ylabel="difference to no refresh", title="what it gains")
    figure.legend(*recall.get_legend_handles_labels(), loc="outside lower center", ncols=len(ways))

    for place, way in enumerate(trained):
        shares = np.array([row.seconds for row in rows if row.way == way and row.day > 0])
        cost.barh(place, shares.mean(), 0.55, color=colors[way])
        cost.plot(shares, np.full(len(shares), place), "|", ms=9, color=INK)
        cost.annotate(
            f"{shares.mean():.2g}", (shares.max(), place), (5, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    cost.set(yticks=[], ylim=(len(trained) - 0.5, -0.5), xlim=(0, 1.2))
    cost.set(xlabel="seconds, from scratch = 1", title="how long it trains")
    return figure
