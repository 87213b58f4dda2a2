"""The figures of notebook 00."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK

Panel = tuple[str, Bool[np.ndarray, " items"], Float[np.ndarray, "_ 2"]]


def circles(
    items: Float[np.ndarray, "items 2"],
    clusters: Int[np.ndarray, " items"],
    names: Sequence[str],
    panels: Sequence[Panel],
    colors: Sequence[str],
) -> Figure:
    """Draw films on a circle, filled if they are in the list, and user vectors as arrows."""
    figure, axes = plt.subplots(1, len(panels), figsize=(7, 3.4), layout="constrained")
    for axis, (title, in_list, vectors) in zip(axes, panels, strict=True):
        axis.add_patch(Circle((0, 0), 1, fill=False, color=INK, lw=0.8))
        edges = np.array(colors)[clusters]
        faces = np.where(in_list, edges, "none")
        axis.scatter(*items.T, s=80, c=faces, edgecolors=edges, lw=1.6, zorder=3)
        for cluster, name in enumerate(names):
            x, y = items[clusters == cluster].mean(0)
            align = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
            axis.text(1.14 * x, 1.18 * y, name, color=colors[cluster], ha=align, va="center")
        for x, y in 0.85 * vectors:
            arrow = {"arrowstyle": "-|>", "color": INK, "lw": 2}
            axis.annotate("", (x, y), (0, 0), arrowprops=arrow)
        axis.set(xlim=(-1.7, 1.7), ylim=(-1.25, 1.35), aspect="equal", title=title)
        axis.set_axis_off()
    return figure


def strips(
    rows: Mapping[str, Float[np.ndarray, " items"]], liked: int, of_each: int, title: str
) -> Figure:
    """Draw each item at its rank, for two ways to score: listed items left of a line, filled."""
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    for y, (name, scores) in zip((0, 1.05), rows.items(), strict=True):
        rank = 1 + (-scores).argsort().argsort()
        spread = 0.1 + 0.3 * (np.arange(len(scores)) * 0.618 % 1)  # so that fewer dots overlap
        cluster = np.minimum(np.arange(len(scores)) // of_each, liked)
        edges = np.array([*COLORS[:liked], INK])[cluster]
        height = np.where(cluster < liked, 0.1 * cluster, -spread)
        size = np.where(cluster < liked, 26, 9)
        faces = np.where(rank <= liked * of_each, edges, "none")
        axis.scatter(rank, y + height, s=size, c=faces, edgecolors=edges.tolist(), lw=size / 26)
        axis.text(0.9, y, name, color=INK, ha="right", va="center")
    axis.axvline(liked * of_each + 0.5, 0, 0.93, color=INK, lw=1, zorder=0)
    axis.text(liked * of_each, 1.55, f"the list: {liked * of_each} items", color=INK, ha="right")
    axis.set_title(title, loc="left")
    axis.set(xscale="log", xlim=(0.95, 530), ylim=(-0.48, 1.7), yticks=[])
    ticks = [2**k for k in range(9)]
    axis.set(xticks=ticks, xticklabels=ticks, xlabel="rank of each item, best first")
    axis.minorticks_off()
    axis.spines["left"].set_visible(False)
    return figure


def coverage(
    curves: Mapping[str, Sequence[Estimate]],
    dims: Sequence[int],
    liked: int,
    rule: Mapping[str, float] | None = None,
) -> Figure:
    """Draw how many liked clusters are covered in each dimension, with intervals.

    Args:
        rule: dimensions at which to draw a vertical line in the color of the named curve.
    """
    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for (name, row), color in zip(curves.items(), COLORS, strict=False):
        values = np.array([estimate.value for estimate in row])
        ends = [[e.value - e.low for e in row], [e.high - e.value for e in row]]
        axis.errorbar(dims, values, np.maximum(ends, 0), color=color, marker="o", ms=4, capsize=2)
        full = np.flatnonzero(values > 0.98 * liked)
        if len(full) and name != [*curves][-1]:  # above the first dimension that suffices
            axis.text(dims[full[0]], liked + 0.15, name, color=color, ha="center")
        else:
            at = int(abs(values - 0.7 * liked).argmin())
            axis.text(1.08 * dims[at], values[at], name, color=color, va="top")
    for name, d in (rule or {}).items():
        color = COLORS[[*curves].index(name)]
        axis.axvline(d, 0, 0.5, color=color, ls="--", lw=1.2)
        axis.text(0.97 * d, 0.1, f"rule, {name}: {d:.0f}", color=color, ha="right", va="bottom")
    axis.axhline(0.9 * liked, color=INK, lw=0.8, ls=":")
    axis.text(dims[0], 0.92 * liked, "nine tenths", color=INK)
    axis.set(xscale="log", xticks=dims, xticklabels=dims, xlabel="dimension d")
    axis.set(ylim=(-0.1, liked + 0.5), yticks=range(liked + 1))
    axis.set_ylabel(f"covered clusters, of {liked}")
    axis.minorticks_off()
    return figure


def costs(times: Mapping[str, tuple[float, float]], limit: int | float) -> Figure:
    """Draw the milliseconds for reading and for computing of each row, and the time limit."""
    figure, axis = plt.subplots(figsize=(7, 1.1 + 0.36 * len(times)), layout="constrained")
    rows = range(len(times))
    values = np.array(list(times.values())).T
    limiting = [f"{float(f'{ms:.3g}' if ms >= 10 else f'{ms:.2g}'):,g} ms" for ms in values.max(0)]
    labels = [f"{name}: {text}" for name, text in zip(times, limiting, strict=True)]
    axis.hlines(rows, *values, color=INK, lw=0.8)
    for kind, x, marker, color in zip(("reading", "computing"), values, "os", COLORS, strict=False):
        axis.scatter(x, rows, s=36, marker=marker, color=color, zorder=3)
        axis.text(x[0], -0.45, kind, color=color, ha="center", va="bottom")
    axis.axvline(limit, color=INK, ls=":")
    axis.text(limit, rows[-1], f"  limit: {limit:g} ms", color=INK, va="center")
    axis.set(xscale="log", xlabel="milliseconds per request", yticks=rows, yticklabels=labels)
    axis.set_ylim(len(times) - 0.4, -1.1)
    return figure
