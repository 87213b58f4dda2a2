"""The figures of notebook 00: why one vector is not enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import PercentFormatter

from mindlib.lessons.common.style import COLORS, INK

NAMES = ("liked: A", "liked: B", "between: C", "the rest")
Interval = tuple[float, float, float]
CLUSTER_COLORS = (COLORS[0], COLORS[2], COLORS[1], INK)


def costs(work: Mapping[str, float], *, budget: float, label: str) -> Figure:
    """Multiply-adds of several ways to score, on a logarithmic scale, and what time allows.

    Args:
        work: multiply-adds a request, by what is done.
        budget: the most that is affordable.
        label: what the budget is.
    """
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.42 * len(work)), layout="constrained")
    fits = [value <= budget for value in work.values()]
    axes.barh(
        range(len(work)), list(work.values()), height=0.6,
        color=[COLORS[2] if fit else COLORS[1] for fit in fits],
    )  # fmt: skip
    for row, value in enumerate(work.values()):
        axes.text(value * 1.3, row, f"{value:.1e}", va="center", fontsize=8)
    axes.axvline(budget, color=INK, ls=":", lw=1.2)
    axes.text(budget, -0.78, f" {label}", fontsize=8, va="center")
    axes.set(xscale="log", xlabel="multiply-adds a request", yticks=range(len(work)))
    axes.set_yticklabels(list(work))
    axes.set_ylim(len(work) - 0.4, -1.1)
    axes.set_xlim(min(work.values()) / 5, max(work.values()) * 30)
    return figure


def on_the_circle(
    axes: Axes,
    items: Float[np.ndarray, "items 2"],
    clusters: Int[np.ndarray, " items"],
    found: Bool[np.ndarray, " items"],
    vectors: Float[np.ndarray, "vectors 2"],
    title: str,
) -> None:
    """Items on a circle, full where they are retrieved, and the user's vectors as arrows."""
    axes.add_patch(Circle((0, 0), 1, fill=False, color=INK, lw=0.6, alpha=0.6))
    for cluster, (name, color) in enumerate(zip(NAMES, CLUSTER_COLORS, strict=True)):
        here = clusters == cluster
        for shown, face in ((here & found, color), (here & ~found, "none")):
            axes.scatter(*items[shown].T, s=34, facecolors=face, edgecolors=color, lw=1.2, zorder=3)
        if here.any() and cluster < len(NAMES) - 1:
            x, y = 1.2 * items[here].mean(0)
            axes.text(x, y, name[-1], color=color, ha="center", va="center", fontsize=11)
    for x, y in vectors:
        axes.annotate(
            "", (0.86 * x, 0.86 * y), (0, 0),
            arrowprops={"arrowstyle": "-|>", "color": COLORS[3], "lw": 2},
        )  # fmt: skip
    axes.set_title(title)
    axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal")
    axes.set_axis_off()


def circles(
    items: Float[np.ndarray, "items 2"],
    clusters: Int[np.ndarray, " items"],
    panels: Sequence[tuple[str, Bool[np.ndarray, " items"], Float[np.ndarray, "_ 2"]]],
) -> Figure:
    """The same circle several times: a title, what is retrieved, by which vectors."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(3.4 * len(panels), 3.7), layout="constrained", squeeze=False
    )
    for axis, (title, found, vectors) in zip(axes[0], panels, strict=True):
        on_the_circle(axis, items, clusters, found, vectors, title)
    return figure


def _recalls(
    axes: Axes, degrees: Float[np.ndarray, " n"], recalls: Float[np.ndarray, "n 2"]
) -> None:
    order = np.argsort(degrees)
    # The thick line lies below, so that the thin ones show where they are zero too.
    axes.step(degrees[order], recalls[order].min(1), where="mid", lw=4, color=COLORS[3], alpha=0.6,
              label="the worse of the two")  # fmt: skip
    for interest, dashes in enumerate(("-", (0, (4, 2)))):
        color, label = CLUSTER_COLORS[interest], f"share of {NAMES[interest][-1]}"
        axes.step(degrees[order], recalls[order, interest], where="mid", lw=1.2, color=color,
                  ls=dashes, label=label)  # fmt: skip
    axes.set(xlim=(-180, 180), ylim=(-0.03, 1.05), xticks=range(-180, 181, 60))
    axes.set_xlabel("direction of the one vector, degrees")
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def search(
    sweeps: Mapping[str, tuple[Float[np.ndarray, " _"], Float[np.ndarray, "_ 2"]]],
) -> Figure:
    """What each direction of one vector retrieves of two interests, a panel for each catalogue.

    Args:
        sweeps: for each title the directions, in degrees from -180 to 180, and of each the share
            of both interests that it retrieves.
    """
    figure, axes = plt.subplots(
        1, len(sweeps), figsize=(4.8 * len(sweeps), 2.9), layout="constrained", squeeze=False,
        sharey=True,
    )  # fmt: skip
    for axis, (title, (degrees, recalls)) in zip(axes[0], sweeps.items(), strict=True):
        _recalls(axis, degrees, recalls)
        axis.set_title(title)
    axes[0][0].set_ylabel("retrieved")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def one_or_two(
    items: Float[np.ndarray, "items 2"],
    clusters: Int[np.ndarray, " items"],
    found: Bool[np.ndarray, " items"],
    vectors: Float[np.ndarray, "vectors 2"],
    sweep: tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 2"]],
    here: float | None,
    title: str,
) -> Figure:
    """The view: the circle, and beside it where this direction stands among all.

    Args:
        sweep: as in `search`.
        here: the direction of the one vector in degrees; None if there are two.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 3.9), layout="constrained", width_ratios=(1, 1.25)
    )
    on_the_circle(left, items, clusters, found, vectors, title)
    _recalls(right, *sweep)
    right.set_title("every direction of one vector")
    if here is not None:
        right.axvline(here, color=INK, ls=":", lw=1.5)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def caps(
    degrees: Float[np.ndarray, " n"],
    panels: Mapping[str, tuple[Float[np.ndarray, "interests n"], float]],
    marks: Float[np.ndarray, " items"],
) -> Figure:
    """Scores around the circle: of each interest, and where the best is above the bar, the caps.

    Args:
        degrees: from -180 to 180.
        panels: for each title the scores of each interest at these angles, and the bar: the score
            of the last item that is retrieved.
        marks: where items lie, in degrees.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.6 * len(panels), 3), layout="constrained", squeeze=False,
        sharey=True,
    )  # fmt: skip
    floor = min(float(scores.min()) for scores, _ in panels.values()) - 0.15
    for axis, (title, (scores, bar)) in zip(axes[0], panels.items(), strict=True):
        best = scores.max(0)
        axis.fill_between(degrees, floor, best, where=(best >= bar).tolist(),
                          color=COLORS[3], alpha=0.4, lw=0, label="the union of caps")  # fmt: skip
        for k, row in enumerate(scores):
            axis.plot(degrees, row, color=CLUSTER_COLORS[k], lw=1.6, ls=("-", "--")[k % 2],
                      label=f"score of {NAMES[k][-1]}'s vector")  # fmt: skip
        axis.axhline(bar, color=INK, ls=":", lw=1.3, label="the bar")
        axis.plot(marks, np.full(len(marks), floor + 0.07), "|", color=INK, ms=6, label="items")
        axis.set(xlim=(-180, 180), xticks=range(-180, 181, 60), title=title)
        axis.set_xlabel("where the item lies, degrees")
    axes[0][0].set_ylabel("score")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5,
                  fontsize=8)  # fmt: skip
    return figure


def dimensions(shares: Mapping[str, Mapping[int, Interval]]) -> Figure:
    """The share of users that one vector can serve, by dimension, with intervals.

    Args:
        shares: for each kind of user and each dimension: share, low, high.
    """
    figure, axes = plt.subplots(figsize=(6.8, 3.1), layout="constrained")
    dims = sorted({dim for curve in shares.values() for dim in curve})
    for number, (color, (name, curve)) in enumerate(zip(COLORS, shares.items(), strict=False)):
        middle, low, high = np.array(list(curve.values())).T
        # Of 0 of n or n of n, rounding can leave a bar of length -1e-17.
        reach = np.maximum([middle - low, high - middle], 0)
        # Beside one another: where curves agree, the later one would hide the earlier.
        places = [dims.index(dim) + 0.14 * number for dim in curve]
        axes.errorbar(places, middle, yerr=reach, fmt="os"[number % 2] + "-", color=color, ms=4,
                      capsize=2, lw=1.3, label=name)  # fmt: skip
    axes.set(xlabel="dimension d", ylabel="users whom one vector can serve")
    axes.set_xticks(range(len(dims)), [str(dim) for dim in dims])
    axes.set_ylim(-0.04, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend()
    return figure


def intervals(
    series: Mapping[str, Mapping[str, Interval]], label: str, *, line: tuple[str, float]
) -> Figure:
    """Means with their intervals, a row for each way and a colour for each series.

    Args:
        series: by name, and in it for each row: mean, low, high. The rows are the same in all.
        line: what is drawn as a line, and where.
    """
    rows = list(next(iter(series.values())))
    figure, axes = plt.subplots(figsize=(7.2, 1.2 + 0.42 * len(rows)), layout="constrained")
    step = 0.34
    for number, (name, values) in enumerate(series.items()):
        color, up = COLORS[(0, 1, 2)[number]], step * (number - (len(series) - 1) / 2)
        for row, way in enumerate(rows):
            middle, low, high = values[way]
            axes.hlines(row + up, low, high, color=color, lw=3, alpha=0.5)
            axes.plot(middle, row + up, "osD"[number], color=color, ms=5,
                      label=name if row == 0 else None)  # fmt: skip
    axes.axvline(line[1], color=INK, ls=":", lw=1.2)
    axes.text(line[1], -0.8, f" {line[0]}", fontsize=8, va="center")
    axes.set(xlabel=label, yticks=range(len(rows)), xlim=(-0.02, 1.02))
    axes.set_yticklabels(rows)
    axes.set_ylim(len(rows) - 0.5, -1.1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(series),
                  fontsize=8)  # fmt: skip
    return figure


def shared_fields(
    cosines: Mapping[int, Float[np.ndarray, " _"]], expected: Mapping[int, float]
) -> Figure:
    """Cosine of pairs of items by the number of fields they share, before any training.

    Args:
        cosines: for each number of shared fields, a sample of pairs.
        expected: what the mean of each should be.
    """
    figure, axes = plt.subplots(figsize=(6.5, 3), layout="constrained")
    parts: Any = axes.boxplot(
        [values.tolist() for values in cosines.values()], positions=list(cosines), widths=0.5,
        whis=(5, 95), showfliers=False,
    )  # fmt: skip
    for name in ("boxes", "whiskers", "caps", "medians"):
        for line in parts[name]:
            line.set_color(COLORS[0] if name != "medians" else COLORS[1])
    parts["boxes"][0].set_label("half of the pairs; whiskers: nine tenths")
    parts["medians"][0].set_label("the median pair")
    axes.plot(list(expected), list(expected.values()), "x", color=COLORS[3], ms=8, mew=2,
              label="s / (fields + 1)", zorder=4)  # fmt: skip
    axes.set(xlabel="s: fields that two items share", ylabel="cosine of the two items")
    axes.set_xticks(list(cosines), [str(number) for number in cosines])
    axes.legend(loc="upper left")
    return figure
