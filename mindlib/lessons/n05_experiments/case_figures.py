"""The figures of notebook 05's case study: what two users' interests hold and retrieve (§4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mindlib.lessons.common.style import COLORMAP, COLORS, INK
from mindlib.lessons.n05_experiments.figures import cut

Kind = Literal["interest", "single", "random"]
KIND_COLORS: dict[Kind, str] = {"interest": COLORS[0], "single": COLORS[1], "random": INK}
LARGEST_DOT = 330.0  # area in square points of the dot that stands for the most items


@dataclass(frozen=True)
class CouplingPanel:
    """One user's coupling as one training has it.

    Attributes:
        coupling: w, without padding and inactive interests.
        labels: a readable name for each behaviour.
        groups: the category of each behaviour.
        title: such as "seed 0".
    """

    coupling: Float[np.ndarray, "interests behaviors"]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    title: str

    def __post_init__(self) -> None:
        n = self.coupling.shape[1]
        if not len(self.labels) == len(self.groups) == n:
            raise ValueError(
                f"{len(self.labels)} labels and {len(self.groups)} groups for {n} behaviours of "
                f"{self.title!r}: expected one of each for each behaviour"
            )


def coupling_heatmaps(panels: Sequence[CouplingPanel], *, users: Sequence[str] = ()) -> Figure:
    """Which behaviours went into which interest, for some users and some trainings (Fig. 5).

    Users stand side by side, the trainings of each beside one another. Behaviours run down, so
    that their names read; they are in the same order in all of a user's panels: by category, and
    within one by the interest that has most of them in the first panel.

    Args:
        panels: the first user's, then the next one's; panels with the same behaviours are of one
            user.
        users: what stands above each user's panels.

    Raises:
        ValueError: no panels, or users with different numbers of panels or headings.
    """
    rows = [list(own) for _, own in groupby(panels, key=lambda panel: (panel.labels, panel.groups))]
    if not rows:
        raise ValueError("nothing to show: expected at least one panel")
    if len(set(map(len, rows))) > 1:
        counts = ", ".join(str(len(row)) for row in rows)
        raise ValueError(f"users with {counts} panels: expected as many for each, one a training")
    if users and len(users) != len(rows):
        raise ValueError(f"{len(users)} headings for {len(rows)} users: expected one for each")
    longest = max(len(row[0].labels) for row in rows)
    # The last column of each user is her strip of categories.
    widths = [width for row in rows for width in (*(len(p.coupling) for p in row), 0.5)]
    figure, axes = plt.subplots(
        1, len(widths), figsize=(0.17 * sum(widths) + 2.9 * len(rows), 0.135 * longest + 1.7),
        layout="constrained", squeeze=False, width_ratios=widths,
    )  # fmt: skip
    picture = None
    for number, row in enumerate(rows):
        first = row[0]
        strongest = first.coupling.argmax(0)
        order = sorted(
            range(len(first.groups)),
            key=lambda i: (first.groups[i], strongest[i], -first.coupling[strongest[i], i]),
        )
        *maps, strip = axes[0, number * (len(row) + 1) : (number + 1) * (len(row) + 1)]
        for axis, panel in zip(maps, row, strict=True):
            interests = len(panel.coupling)
            picture = axis.imshow(
                panel.coupling[:, order].T, aspect="auto", cmap=COLORMAP, vmin=0, vmax=1,
                interpolation="nearest",
            )  # fmt: skip
            axis.set_xticks(range(interests), [str(k + 1) for k in range(interests)], fontsize=7)
            axis.set_title(panel.title, fontsize=8)
            axis.set_yticks([])
        names = [cut(first.labels[i], 32) for i in order]
        maps[0].set_yticks(range(len(order)), names, fontsize=6.5)
        middle = maps[len(maps) // 2]
        middle.set_xlabel("interest", fontsize=8)
        if users:
            # In a title, to which the layout gives height, and whose width may reach over others.
            middle.set_title(f"{users[number]}\n\n{middle.get_title()}", fontsize=8)
        _category_strip(strip, [first.groups[i] for i in order])
        for axis in (*maps, strip):
            # The same height of a row for every user.
            axis.set_ylim(longest - 0.5, -0.5)
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
    if picture is not None:
        figure.colorbar(
            picture, ax=axes, label="coupling $w_{ij}$", location="bottom", shrink=0.3, aspect=40
        )
    return figure


def _category_strip(axis: Axes, groups: Sequence[str]) -> None:
    """A cell for each behaviour in its category's colour, and the category's name on the right."""
    spans = [(name, len(list(own))) for name, own in groupby(groups)]
    places, top = [], 0
    for number, (_, size) in enumerate(spans):
        color = COLORS[number % len(COLORS)]
        axis.bar(0, size - 0.15, bottom=top - 0.425, width=1.0, color=color)
        places.append(top + (size - 1) / 2)
        top += size
    axis.yaxis.tick_right()
    axis.set_yticks(places, [cut(name.title(), 20) for name, _ in spans], fontsize=7)
    for number, text in enumerate(axis.get_yticklabels()):
        text.set_color(COLORS[number % len(COLORS)])
    axis.set_xlim(-0.5, 0.5)
    axis.set_xticks([])


@dataclass(frozen=True)
class Strip:
    """Items that one vector retrieves, or random ones: how near they are.

    Attributes:
        name: such as "interest 1: grocery 62 %".
        similarity: the cosine of each item.
        kind: one of several interests, a single vector, or random items.
    """

    name: str
    similarity: Float[np.ndarray, " n"]
    kind: Kind


def item_strips(strips: Sequence[Strip], *, label: str, bins: int = 40) -> Figure:
    """How near the items are that each interest retrieves: a strip for each (Fig. 6).

    The axis is cut into bins of equal width; a dot stands in the middle of each that has items,
    and its area is proportional to their number. All strips have the same axis and the same areas.

    Args:
        strips: from top to bottom.
        label: of the axis.
        bins: between the least and the largest similarity of all strips.

    Raises:
        ValueError: no strips, or one without items.
    """
    if not strips:
        raise ValueError("nothing to show: expected at least one strip")
    if empty := [strip.name for strip in strips if not len(strip.similarity)]:
        raise ValueError(f"strip {empty[0]!r} has no items: leave it out")
    edges = np.histogram_bin_edges(np.concatenate([s.similarity for s in strips]), bins=bins)
    middles = (edges[1:] + edges[:-1]) / 2
    counts = [np.histogram(strip.similarity, edges)[0] for strip in strips]
    most = max(int(count.max()) for count in counts)
    figure, axis = plt.subplots(figsize=(8, 0.42 * len(strips) + 1.2), layout="constrained")
    for row, (strip, count) in enumerate(zip(strips, counts, strict=True)):
        there = count > 0
        axis.axhline(row, color=INK, lw=0.6, alpha=0.5, zorder=0)
        axis.scatter(
            middles[there], np.full(there.sum(), row), s=LARGEST_DOT * count[there] / most,
            color=KIND_COLORS[strip.kind], alpha=0.75, lw=0,
        )  # fmt: skip
    axis.set_yticks(range(len(strips)), [strip.name for strip in strips])
    axis.set(xlabel=label, ylim=(len(strips) - 0.4, -0.6))
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    sizes = sorted({1, max(1, most // 4), most})
    handles = [
        axis.scatter([], [], s=LARGEST_DOT * size / most, color=INK, alpha=0.75, lw=0)
        for size in sizes
    ]
    names = ["1 item" if size == 1 else f"{size} items" for size in sizes]
    figure.legend(handles, names, loc="outside right upper", fontsize=8, labelspacing=1.3)
    return figure
