"""The figures of notebook 05 except the map: intervals, couplings, and rows of dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
        for number, (name, rows) in enumerate(series.items()):
            points = 100 * np.array([(e.value, e.value - e.low, e.high - e.value) for _, e in rows])
            shift = 0.06 * (number - (len(series) - 1) / 2)
            axis.errorbar([groups.index(group) + shift for group, _ in rows], points[:, 0],
                          yerr=points[:, 1:].T, fmt="o-", ms=4, lw=1.3, label=name,
                          color=GENRE_COLORS[names.index(name)])  # fmt: skip
        axis.set_xticks(range(len(groups)), groups)
        axis.set_xlabel(title)
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=1 + len(series) // 3, fontsize=8)
    axes[0][0].set_ylabel(label)
    return figure


class RoutedUser(NamedTuple):
    """The name and the category of each behavior, and the coupling in several training runs."""

    heading: str
    labels: Sequence[str]
    groups: Sequence[str]
    couplings: Sequence[Float[np.ndarray, "interests behaviors"]]


def coupling_heatmaps(users: Sequence[RoutedUser], named: Sequence[str]) -> Figure:
    """Draw the coupling of each user, a heat map for each training run (Fig. 5).

    Behaviors run down in one order for all runs: by category, within it by the strongest interest
    of the first run. The categories in `named` have the colors of the map.
    """
    longest = max(len(user.labels) for user in users)
    # The last column of each user is the strip of categories.
    widths = [w for user in users for w in (*(len(c) for c in user.couplings), 0.5)]
    size = 0.22 * sum(widths) + 3.2 * len(users), 0.155 * longest + 1.7
    figure, axes = plt.subplots(
        1, len(widths), figsize=size, layout="constrained", width_ratios=widths
    )
    picture, places = None, iter(axes)
    for user in users:
        best, strength = user.couplings[0].argmax(0), user.couplings[0].max(0)
        keys = list(zip(user.groups, best, -strength, strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        maps = [next(places) for _ in user.couplings]
        for run, (axis, coupling) in enumerate(zip(maps, user.couplings, strict=True)):
            picture = axis.imshow(coupling[:, order].T, aspect="auto", cmap=COLORMAP, vmin=0,
                                  vmax=1, interpolation="nearest")  # fmt: skip
            axis.set_xticks(range(len(coupling)), [str(k + 1) for k in range(len(coupling))])
            for k, tick in enumerate(axis.get_xticklabels()):
                tick.set(color=COLORS[k], weight="bold")
            axis.set_title(f"seed {run}", fontsize=8.5, loc="left")
            axis.set_yticks([])
        maps[0].set_yticks(range(len(order)), [cut(user.labels[i], 34) for i in order], fontsize=7)
        maps[0].set_title(f"{user.heading}\n\nseed 0", fontsize=8.5, loc="left")
        strip = next(places)
        _category_strip(strip, [user.groups[i] for i in order], named)
        for axis in (*maps, strip):
            axis.set_ylim(longest - 0.5, -0.5)  # rows of the same height for every user
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
    if picture is not None:
        label = "coupling $w_{ij}$ of behavior i and interest j"
        figure.colorbar(picture, ax=axes, label=label, location="bottom", shrink=0.4, aspect=40)
    return figure


def _category_strip(axis: Axes, groups: Sequence[str], named: Sequence[str]) -> None:
    """Draw a cell for each behavior in the color of its category, with the category's name."""
    colors = dict(zip(named, GENRE_COLORS, strict=False))
    centers, names, top = [], [], 0
    for name, own in groupby(groups):
        size, color = len(list(own)), colors.get(name, INK)
        axis.bar(0, size - 0.15, bottom=top - 0.425, width=1.0, color=color)
        centers.append(top + (size - 1) / 2)
        names.append(cut(name, 20))
        top += size
    axis.yaxis.tick_right()
    axis.set_yticks(centers, names, fontsize=7.5)
    axis.set(xlim=(-0.5, 0.5), xticks=[])


class Strip(NamedTuple):
    """A row of dots with a text beside it, such as the cosines and titles of retrieved items."""

    name: str
    values: Sequence[float]
    text: str
    color: str


def strips(rows: Sequence[Strip], label: str) -> Figure:
    """Draw a dot for each value of each row on one axis, and the rows' texts on the right."""
    figure, axis = plt.subplots(figsize=(10, 0.42 * len(rows) + 0.8), layout="constrained")
    for place, row in enumerate(rows):
        axis.axhline(place, color=INK, lw=0.6, alpha=0.5, zorder=0)
        axis.scatter(row.values, [place] * len(row.values), s=42, color=row.color, alpha=0.5, lw=0)
        text = cut(row.text, 74)
        axis.text(1.02, place, text, transform=axis.get_yaxis_transform(), va="center", size=8.5)
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
