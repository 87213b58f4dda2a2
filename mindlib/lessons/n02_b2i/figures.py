"""The figures of notebook 02, behaviour-to-interest routing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORMAP, COLORS, INK


class Picture(NamedTuple):
    """A heat map with what stands above it."""

    title: str
    weights: Float[np.ndarray, "interests behaviors"]
    caption: str


def rounds(
    rows: Mapping[str, Sequence[Float[np.ndarray, "interests behaviors"]]],
    cosines: Mapping[str, Sequence[float]],
) -> Figure:
    """One user's coupling after each round, a row for each start, with her cosines."""
    columns = max(len(line) for line in rows.values())
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(2.5 * columns + 0.8, 1.45 * len(rows) + 0.3),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    picture = None
    for line, (name, couplings) in zip(axes, rows.items(), strict=True):
        for number, (axis, coupling) in enumerate(zip(line, couplings, strict=True)):
            picture = _heat(axis, coupling)
            axis.set_title(f"round {number + 1}: cosine {cosines[name][number]:.2f}", fontsize=9)
        line[0].set_ylabel(f"{name}\ninterests")
    for axis in axes[-1]:
        axis.set_xlabel("behaviours")
    if picture is not None:
        figure.colorbar(picture, ax=axes, label="coupling $w_{ij}$", shrink=0.9, pad=0.01)
    return figure


def curves(
    x: Sequence[float],
    lines: Mapping[str, Sequence[Estimate]],
    *,
    xlabel: str,
    ylabel: str,
    floors: Mapping[str, Sequence[Estimate]] | None = None,
) -> Figure:
    """Shares over x, a line for each name with its interval as a band.

    Args:
        floors: for some of the names what chance gives, dotted in the line's colour.
    """
    figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    for color, (name, estimates) in zip(COLORS, lines.items(), strict=False):
        value, low, high = np.array([(e.value, e.low, e.high) for e in estimates]).T
        axes.fill_between(x, low, high, color=color, alpha=0.25, lw=0)
        axes.plot(x, value, "o-", color=color, ms=3, lw=1.3, label=name)
        if floors and name in floors:
            floor = [e.value for e in floors[name]]
            axes.plot(x, floor, ":", color=color, lw=1.3, label=f"{name}: chance")
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(-0.03, 1), xscale="log")
    axes.set_xticks(list(x))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="best")
    return figure


def interests_by_length(
    lengths: Int[np.ndarray, " users"],
    numbers: Int[np.ndarray, " n"],
    searches: Mapping[int, float],
    routing: Mapping[int, float],
    window: int,
) -> Figure:
    """K'_u as a staircase, the lengths it meets, and what it saves for each K.

    Args:
        lengths: the behaviours of each user.
        numbers: K'_u for 1, 2, ... behaviours.
        searches, routing: for each K the share of searches and of multiplications saved.
        window: the behaviours that routing sees at most, a dotted line.
    """
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
    left.step(np.arange(1, len(numbers) + 1), numbers, where="post", color=COLORS[0])
    left.set(
        xlabel="behaviours of a user", ylabel="$K'_u$", title="Interests allowed (Eq. 9)",
        yticks=range(int(numbers.max()) + 1), ylim=(0, numbers.max() + 0.5),
    )  # fmt: skip
    middle.hist(lengths, bins=np.linspace(0, lengths.max(), 41).tolist(), color=COLORS[2])
    middle.axvline(window, color=COLORS[1], ls=":", lw=2, label=f"window of {window}")
    middle.set(xlabel="behaviours of a user", ylabel="users", title="The data")
    middle.legend(loc="upper right")
    places = np.arange(len(searches))
    for shift, color, name, values in (
        (-0.2, COLORS[0], "searches", searches),
        (0.2, COLORS[1], "routing", routing),
    ):
        heights = [100 * v for v in values.values()]
        right.bar(places + shift, heights, width=0.4, color=color, label=name)
    right.set_xticks(places, [str(k) for k in searches])
    right.set(xlabel="K", ylabel="percent saved", title="Saved against K for all")
    right.legend(loc="upper left")
    return figure


def heat_maps(
    pictures: Sequence[Picture], *, columns: int = 4, label: str, limit: float = 1.0
) -> Figure:
    """Heat maps side by side, each with its title and its caption above.

    Args:
        limit: the weight at which the colours end.
    """
    lines = -(-len(pictures) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(2.7 * columns, 1.9 * lines), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    image = None
    for axis, picture in zip(axes.flat, pictures, strict=False):
        image = _heat(axis, picture.weights, limit)
        axis.set_title(f"{picture.title}\n{picture.caption}", fontsize=8)
        axis.set_xlabel("behaviours", fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("interests", fontsize=8)
    for axis in axes.flat[len(pictures) :]:
        axis.set_axis_off()
    if image is not None:
        extend = "max" if limit < 1 else "neither"
        figure.colorbar(image, ax=axes, label=label, shrink=0.9, pad=0.01, extend=extend)
    return figure


def collapse_map(
    points: Mapping[str, Sequence[tuple[float, float]]],
    labels: Sequence[str],
    perfect: tuple[float, float],
) -> Figure:
    """The two diseases as two axes: cosine between interests, entropy of their weights.

    Args:
        points: for each name a path of (cosine, entropy).
        labels: what each place of a path is called.
        perfect: where interests lie that each hold one kind, a star.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for number, (color, (name, path)) in enumerate(zip(COLORS, points.items(), strict=False)):
        x, y = np.array(path).T
        axes.plot(x, y, "o-", color=color, ms=4, lw=1, label=name)
        for place, label in enumerate(labels):
            axes.annotate(
                label, (x[place], y[place]), fontsize=8, color=color,
                xytext=(5, -9) if number % 2 else (-3, 6), textcoords="offset points",
                ha="left" if number % 2 else "right",
            )  # fmt: skip
    axes.plot(*perfect, "*", color=COLORS[2], ms=13, label="each interest holds one kind", zorder=0)
    axes.text(1.05, 1.04, "interest collapse", ha="right", fontsize=9)
    axes.text(1.05, 0.0, "routing collapse: the whole lower edge", ha="right", fontsize=9)
    axes.set(
        xlabel="mean cosine between interests", ylabel="routing entropy",
        xlim=(-0.08, 1.08), ylim=(-0.05, 1.12),
    )  # fmt: skip
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.08))
    return figure


def coupling_and_cosine(
    coupling: Float[np.ndarray, "interests behaviors"],
    cosine: Float[np.ndarray, "interests interests"],
    clusters: Int[np.ndarray, " behaviors"],
    title: str,
) -> Figure:
    """What went into which interest, by planted cluster, and how alike the interests are."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8.6, 0.34 * len(coupling) + 1.7), layout="constrained",
        width_ratios=(3, 1),
    )  # fmt: skip
    image = _heat(left, coupling)
    for edge in np.flatnonzero(np.diff(clusters)) + 0.5:
        left.axvline(edge, color=COLORS[5], lw=1.5)
    left.set(xlabel="behaviours, by planted cluster", ylabel="interests", title=title)
    figure.colorbar(image, ax=left, label="$w_{ij}$", pad=0.01)
    second = right.imshow(cosine, cmap="RdBu_r", vmin=-1, vmax=1)
    right.set(xticks=[], yticks=[], title="pairwise cosine")
    figure.colorbar(second, ax=right, pad=0.02)
    return figure


def metric_ladder(
    values: Mapping[str, Sequence[float]], lines: Mapping[str, float], label: str
) -> Figure:
    """A point for each seed of each step from one model to the other, a bar at their mean.

    Args:
        lines: what stands beside the steps, dotted: a floor, the best possible.
    """
    figure, axes = plt.subplots(figsize=(6.8, 0.38 * len(values) + 0.9), layout="constrained")
    for row, (color, points) in enumerate(zip(COLORS, values.values(), strict=False)):
        axes.scatter(np.multiply(100, points), [row] * len(points), color=color, s=30, zorder=3)
        axes.vlines(100 * np.mean(points), row - 0.28, row + 0.28, color=color, lw=1.5)
    for name, value in lines.items():
        axes.axvline(100 * value, color=INK, ls=":", lw=1)
        axes.text(100 * value, -0.8, name, ha="center", va="center", fontsize=8)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -1.1)
    axes.set_xlabel(label)
    axes.set_xlim(left=0)
    return figure


def _heat(
    axis: Axes, weights: Float[np.ndarray, "interests behaviors"], limit: float = 1.0
) -> AxesImage:
    axis.set(xticks=[], yticks=[])
    return axis.imshow(
        weights, aspect="auto", cmap=COLORMAP, vmin=0, vmax=limit, interpolation="nearest"
    )
