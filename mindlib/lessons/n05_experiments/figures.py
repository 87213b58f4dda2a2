"""The figures of notebook 05, the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from sklearn.isotonic import isotonic_regression

from mindlib.lessons.common.style import COLORS, INK

# Stars and their labels are light with dark text on every page: below them are points of all
# colours.
STAR, ON_STAR = "#e8e8e8", "#222222"


def data_at_a_glance(
    lengths: Int[np.ndarray, " users"],
    item_counts: Int[np.ndarray, " items"],
    interests: Int[np.ndarray, " users"],
) -> Figure:
    """History lengths, the long tail of the items, and the K'_u that follows from the lengths.

    Args:
        lengths: the behaviours of each user.
        item_counts: how often each item occurs.
        interests: K'_u of each user.
    """
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
    left.hist(lengths, bins=np.geomspace(max(1, lengths.min()), lengths.max() + 1, 30).tolist())
    left.set(xscale="log", xlabel="behaviours of a user", ylabel="users", title="Histories")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    left.xaxis.set_minor_formatter(NullFormatter())
    counts = np.sort(item_counts)[::-1]
    share = np.cumsum(counts) / counts.sum()
    middle.plot(np.arange(1, len(counts) + 1) / len(counts), share)
    middle.set(
        xlabel="share of the items, most frequent first", ylabel="share of the interactions",
        title="The long tail", xlim=(0, 1), ylim=(0, 1),
    )  # fmt: skip
    values, users = np.unique(interests, return_counts=True)
    right.bar(values, users / users.sum(), color=COLORS[2])
    right.set(
        xticks=values, xlabel="number of interests $K'_u$ (Eq. 9)", ylabel="share of users",
        title="Interests that routing may use",
    )  # fmt: skip
    return figure


def metric_points(
    values: Mapping[str, Sequence[float]],
    metric: str,
    lines: Mapping[str, float],
) -> Figure:
    """A point for each seed of each model, and the floors as lines.

    Args:
        values: for each model the metric of each seed.
        lines: what every model has to beat, by name.
    """
    figure, axes = plt.subplots(figsize=(6.5, 0.5 + 0.42 * len(values)), layout="constrained")
    for row, points in enumerate(values.values()):
        color = COLORS[row % len(COLORS)]
        axes.scatter(np.multiply(100, points), [row] * len(points), color=color, s=36, zorder=3)
        axes.vlines(100 * np.mean(points), row - 0.25, row + 0.25, color=color, lw=1.5)
    for name, value in lines.items():
        axes.axvline(100 * value, color=INK, ls=":", lw=1)
        axes.text(100 * value, -0.75, f" {name}", va="center", fontsize=8)
    axes.set(xlabel=f"{metric}, percent", yticks=range(len(values)), yticklabels=list(values))
    axes.set_ylim(len(values) - 0.5, -1)
    return figure


def training_curves(curves: Mapping[str, Sequence[Sequence[float]]], label: str) -> Figure:
    """A value for each epoch, a line for each seed, a colour for each model."""
    figure, axes = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
    for color, (model, lines) in zip(COLORS, curves.items(), strict=False):
        for number, line in enumerate(lines):
            epochs = np.arange(1, len(line) + 1)
            axes.plot(epochs, np.multiply(100, line), "o-", color=color, ms=3, lw=1.2,
                      label=model if number == 0 else None)  # fmt: skip
    longest = max(len(line) for lines in curves.values() for line in lines)
    axes.set(xlabel="epoch", ylabel=f"{label}, percent", xlim=(0.5, longest + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(ncols=len(curves), loc="lower right")
    return figure


@dataclass(frozen=True)
class Panel:
    """One projection: where the items and the interests lie, and what it can be trusted for.

    Attributes:
        points: the items in the plane.
        stars: one user's interests in the plane.
        caption: how it was made and its figures of quality.
        names: what each interest is about; without it the stars have their numbers alone.
    """

    points: Float[np.ndarray, "items 2"]
    stars: Float[np.ndarray, "interests 2"]
    caption: str
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.names and len(self.names) != len(self.stars):
            raise ValueError(
                f"{len(self.names)} names for {len(self.stars)} stars of {self.caption!r}: "
                f"expected one for each, or none"
            )


def item_map(
    panels: Sequence[Panel], groups: Sequence[str], *, named: int = 7, columns: int | None = None
) -> Figure:
    """Projections of the items, coloured by category, the interests as stars.

    Args:
        groups: the category of each item; the `named` most frequent get a colour of their own.
        columns: how many panels a row has; all of them by default.

    Raises:
        ValueError: no panels, or no columns.
    """
    if not panels:
        raise ValueError("nothing to show: expected at least one panel")
    columns = len(panels) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns={columns}: expected at least 1")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    common = [name for name, _ in Counter(groups).most_common(named)]
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.8 * columns, 0.6 + 4.3 * rows), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    names = np.array(groups)
    for axis, panel in zip(axes.flat, panels, strict=False):
        others = ~np.isin(names, common)
        if others.any():
            axis.scatter(*panel.points[others].T, s=3, color=INK, alpha=0.35, lw=0, label="other")
        for color, name in zip(COLORS, common, strict=False):
            axis.scatter(*panel.points[names == name].T, s=4, color=color, lw=0, label=name.title())
        axis.scatter(*panel.stars.T, marker="*", s=190, color=STAR, edgecolor=ON_STAR,
                     lw=0.9, zorder=6, label="the user's interests")  # fmt: skip
        for number, (x, y) in enumerate(panel.stars):
            axis.annotate(str(number + 1), (x, y), fontsize=6, ha="center", va="center",
                          color=ON_STAR, zorder=7)  # fmt: skip
        _name_stars(axis, panel)
        axis.set_title(panel.caption, fontsize=8)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    legend = figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8
    )
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([40])
    return figure


def _name_stars(axis: Axes, panel: Panel) -> None:
    """A label beside each star, towards the middle; labels give way to one another up and down."""
    if not panel.names:
        return
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    low = np.array([left, bottom])
    places = (panel.stars - low) / (np.array([right, top]) - low)
    rank = places[:, 1].argsort(kind="stable").argsort(kind="stable")
    # The nearest heights to the stars' own that keep their order and a label's distance.
    step = 0.055
    order = rank.argsort()
    free = places[order, 1] - step * np.arange(len(order))
    heights = isotonic_regression(free, y_min=0.02, y_max=0.98 - step * len(order))
    heights = heights + step * np.arange(len(order))
    for height, star in zip(heights, order, strict=True):
        x = places[star, 0]
        side = 1 if x < 0.5 else -1
        axis.annotate(
            cut(f"{star + 1} {panel.names[star]}", 24), tuple(panel.stars[star]),
            xytext=(x + 0.045 * side, height), textcoords="axes fraction", fontsize=6.5,
            ha="left" if side > 0 else "right", va="center", color=ON_STAR, zorder=5,
            bbox={"boxstyle": "round,pad=0.2", "fc": STAR, "ec": "none"},
            arrowprops={"arrowstyle": "-", "color": INK, "lw": 0.8},
        )  # fmt: skip


def cut(text: str, width: int) -> str:
    """At most width characters, the last of them "…" if there were more."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
