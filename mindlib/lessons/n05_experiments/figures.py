"""The figures of notebook 05 except the map: intervals, couplings, and rows of dots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from mindlib.lessons.common.style import COLORMAP, COLORS, INK
from mindlib.lessons.n05_experiments.gains import Groups, Rows
from mindlib.lessons.n05_experiments.item_map import GENRE_COLORS


def intervals(panels: Mapping[str, Mapping[str, Rows]], label: str) -> Figure:
    """Draw differences of shares with their 95 % intervals, in percentage points.

    Args:
        panels: for each panel, by its title, the rows of each series. A row without an estimate
            keeps its place.
        label: of the axis.
    """
    names = [
        list(dict.fromkeys(name for rows in panel.values() for name, _ in rows))
        for panel in panels.values()
    ]
    is_shared = all(rows == names[0] for rows in names)
    width = 2.4 * len(panels) + (2.2 if is_shared else 0.6 * len(panels))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(width, 1 + 0.3 * max(map(len, names))), layout="constrained",
        squeeze=False, sharex=True, sharey=is_shared,
    )  # fmt: skip
    series = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    for axis, rows, (title, panel) in zip(axes[0], names, panels.items(), strict=True):
        axis.axvline(0, color=INK, lw=0.8, zorder=0)
        for name, estimates in panel.items():
            number = series.index(name)
            shift = 0.24 * (number - (len(series) - 1) / 2)
            for row, e in estimates:
                if e is not None:
                    reach = [[100 * (e.value - e.low)], [100 * (e.high - e.value)]]
                    axis.errorbar(100 * e.value, rows.index(row) + shift, xerr=reach, fmt="o",
                                  color=GENRE_COLORS[number], ms=5, capsize=2, lw=1.4)  # fmt: skip
        axis.set_yticks(range(len(rows)), rows)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_title(title)
        axis.tick_params(axis="y", length=0)
    figure.supxlabel(label, fontsize=9, color=INK)
    if len(series) > 1:
        for number, name in enumerate(series):
            axes[0][0].plot([], [], "o-", color=GENRE_COLORS[number], ms=5, label=name)
        figure.legend(loc="outside upper center", ncols=len(series))
    return figure


def gain_lines(panels: Mapping[str, Mapping[str, Groups]], label: str) -> Figure:
    """Draw differences of shares by group, in percentage points with 95 % intervals.

    Args:
        panels: for each panel, by the label of its groups, the groups of each series.
        label: of the vertical axis.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(3.6 * len(panels), 3.2), layout="constrained", squeeze=False
    )
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    for axis, (title, series) in zip(axes[0], panels.items(), strict=True):
        axis.axhline(0, color=INK, lw=0.8, zorder=0)
        groups = list(dict.fromkeys(group for rows in series.values() for group, _ in rows))
        marks = "o-" if all(group[0].isdigit() for group in groups) else "o"  # lines join numbers
        for number, (name, rows) in enumerate(series.items()):
            points = 100 * np.array([(e.value, e.value - e.low, e.high - e.value) for _, e in rows])
            shift = 0.06 * (number - (len(series) - 1) / 2)
            axis.errorbar([groups.index(group) + shift for group, _ in rows], points[:, 0],
                          yerr=points[:, 1:].T, fmt=marks, ms=4, lw=1.3, label=name,
                          color=GENRE_COLORS[names.index(name)])  # fmt: skip
        axis.set_xticks(range(len(groups)), groups)
        axis.set(xlabel=title, ylabel=label)
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=1 + len(series) // 5, fontsize=8)
    return figure


class RoutedUser(NamedTuple):
    """The name and the category of each behavior, and the coupling in several training runs."""

    heading: str
    labels: Sequence[str]
    groups: Sequence[str]
    couplings: Sequence[Float[np.ndarray, "interests behaviors"]]


def coupling_heatmaps(users: Sequence[RoutedUser]) -> Figure:
    """Draw the coupling of each user, a heat map for each training run (Fig. 5).

    Behaviors run down in one order for all runs: by category, the most frequent one first, within
    it by the strongest interest of the first run. The first category is boxed, with the largest
    share of its weight that one interest has.
    """
    longest = max(len(user.labels) for user in users)
    widths = [len(coupling) for user in users for coupling in user.couplings]
    size = 0.29 * sum(widths) + 2.4 * len(users), 0.17 * longest + 1.9
    figure, axes = plt.subplots(
        1, len(widths), figsize=size, layout="constrained", width_ratios=widths
    )
    places = iter(axes)
    for user in users:
        first, counts = user.couplings[0], Counter(user.groups)
        keys = -first.max(0), first.argmax(0), user.groups, [-counts[g] for g in user.groups]
        order: list[int] = np.lexsort(keys).tolist()
        groups = [user.groups[i] for i in order]
        starts = {group: groups.index(group) for group in dict.fromkeys(groups)}
        maps = [next(places) for _ in user.couplings]
        for run, (axis, coupling) in enumerate(zip(maps, user.couplings, strict=True)):
            rows, boxed = coupling[:, order].T, counts[groups[0]]
            axis.imshow(rows, aspect="auto", cmap=COLORMAP, vmin=0, vmax=1, interpolation="nearest")
            for start in starts.values():
                axis.axhline(start - 0.5, color="#ffffff", lw=1.2)
            box = Rectangle((-0.5, -0.5), len(coupling), boxed, fill=False, clip_on=False, zorder=3)
            axis.add_patch(box).set(edgecolor=COLORS[5], lw=3)  # no color of the colormap
            axis.tick_params(labeltop=True, labelbottom=False)
            axis.set_xticks(range(len(coupling)), [str(k + 1) for k in range(len(coupling))])
            for k, tick in enumerate(axis.get_xticklabels()):
                tick.set(color=COLORS[k], weight="bold")
            share = rows[:boxed].mean(0)
            title = f"seed {run}: {100 * share.max():.0f} %\nin interest {share.argmax() + 1}"
            axis.set_title(title if run else f"{user.heading}\n\n{title}", fontsize=9, loc="left")
            axis.set(yticks=[], ylim=(longest - 0.5, -0.5))  # rows of one height for every user
        maps[0].set_yticks(range(len(order)), [cut(user.labels[i], 25) for i in order], fontsize=8)
        right = maps[-1].secondary_yaxis("right")
        centers = [start + (counts[group] - 1) / 2 for group, start in starts.items()]
        right.set_yticks(centers, [cut(group, 20) for group in starts], fontsize=8)
        for axis in (*maps, right):
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
    label = "routing weight of a behavior in an interest"
    figure.colorbar(ScalarMappable(cmap=COLORMAP), ax=axes, label=label, location="bottom",
                    shrink=0.4, aspect=40)  # fmt: skip
    return figure


class Strip(NamedTuple):
    """A row of dots or a bar with a text beside it, such as titles of retrieved items."""

    name: str
    values: Sequence[float]
    text: str
    color: str


def strips(
    rows: Sequence[Strip], label: str, parts: Sequence[str] = (), heading: str = ""
) -> Figure:
    """Draw a dot for each value of each row on one axis, and the rows' texts on the right.

    Args:
        heading: above these texts.
        parts: names of the values, which then become a full, a pale and an empty bar end to end.
    """
    high, opacity = 0.52 if parts else 0.42, (1.0, 0.45, 0.0)
    figure, axis = plt.subplots(figsize=(10, high * len(rows) + 0.8), layout="constrained")
    for place, row in enumerate(rows):
        if not parts:
            axis.axhline(place, color=INK, lw=0.6, alpha=0.5, zorder=0)
            style = {"s": 42, "color": row.color, "alpha": 0.5, "lw": 0}
            axis.scatter(row.values, [place] * len(row.values), **style)
        for value, end, alpha in zip(row.values, np.cumsum(row.values), opacity, strict=False):
            if parts and value:
                axis.barh(place, value, 0.46, end - value, fc=(row.color, alpha), ec=row.color)
                axis.text(end - value / 2, place - 0.27, f"{value}", ha="center", va="bottom")
        text = cut(row.text, 74)
        axis.text(1.02, place, text, transform=axis.get_yaxis_transform(), va="center", size=8.5)
    axis.text(1.02, -0.75, heading, transform=axis.get_yaxis_transform(), size=8.5)
    if parts:
        shades = [Patch(fc=(INK, alpha), ec=INK) for alpha in opacity]
        figure.legend(shades, parts, loc="outside upper left", ncols=3)
    axis.set_yticks(range(len(rows)), [row.name for row in rows])
    for tick, row in zip(axis.get_yticklabels(), rows, strict=True):
        tick.set_color(row.color)
    axis.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5))
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    return figure


def cut(text: str, width: int) -> str:
    """Shorten a text to `width` characters, the last of them "…"."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
