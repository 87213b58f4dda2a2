"""The figures of notebook 06 that are about one request: the system, and a list that changes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import LogLocator, NullFormatter

from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n06_online.deployment import Visitor, Walk
from mindlib.lessons.n06_online.stage_figures import latency_by_stage
from mindlib.online.serving.stages import Candidates

BOX, GAP, HEIGHT = 1.5, 0.6, 1.0
STAGES = {
    "store": "behaviour\nstore",
    "extract": "interest\nextractor",
    "recall": "recall\nengine",
    "rank": "ranking\n(DIN)",
    "rerank": "re-ranking\nrule",
}


def system(
    milliseconds: Mapping[str, float],
    *,
    interests: int,
    candidates: int,
    shown: int,
    paper: float = 15.0,
) -> Figure:
    """The platform of §5 with the times of this run: a request's way, the click's, the refresh's.

    Args:
        milliseconds: of each stage of `STAGES`.
        interests: vectors of the user whose way is drawn.
        candidates: that recall hands to the ranker.
        shown: places of the page.
        paper: milliseconds that the paper has for extractor and recall together.
    """
    figure, axis = plt.subplots(figsize=(9.5, 3.9), layout="constrained")
    axis.set(xlim=(-0.75, 5 * (BOX + GAP) + 1.3), ylim=(-2.75, 2.35))
    axis.axis("off")
    centers = {name: BOX / 2 + GAP + n * (BOX + GAP) for n, name in enumerate(STAGES)}
    for name, text in STAGES.items():
        paired = name in ("extract", "recall")
        _box(axis, centers[name], 0.0, text, COLORS[0] if paired else INK)
        axis.text(
            centers[name], -0.62, f"{milliseconds[name]:.2g} ms", ha="center", va="top",
            color=COLORS[1], fontsize=10,
        )  # fmt: skip
    names = list(STAGES)
    handed = ("her past", f"{interests} vectors", f"{candidates:,}\ncandidates", "in order")
    for (left, right), what in zip(itertools.pairwise(names), handed, strict=True):
        middle = (centers[left] + centers[right]) / 2
        _arrow(axis, (centers[left] + BOX / 2, 0.0), (centers[right] - BOX / 2, 0.0))
        axis.text(middle, 0.6, what, ha="center", va="bottom", fontsize=8)
    first, last = centers["store"] - BOX / 2, centers["rerank"] + BOX / 2
    axis.text(-0.72, 0, "user", va="center", ha="left")
    _arrow(axis, (-0.15, 0.0), (first, 0.0))
    _arrow(axis, (last, 0.0), (last + 0.5, 0.0))
    axis.text(last + 0.55, 0, f"a page\nof {shown}", va="center", ha="left")

    axis.plot(
        [last + 0.9, last + 0.9, centers["store"]], [0.5, 2.0, 2.0], ls="--", lw=1.2,
        color=COLORS[2],
    )  # fmt: skip
    _arrow(axis, (centers["store"], 2.0), (centers["store"], HEIGHT / 2), COLORS[2], "--")
    axis.text(
        (centers["store"] + last) / 2, 2.04, "a click: the next request knows of it", ha="center",
        va="bottom", fontsize=8, color=COLORS[2],
    )  # fmt: skip

    left, right = centers["extract"] - BOX / 2, centers["recall"] + BOX / 2
    axis.plot([left, left, right, right], [1.2, 1.3, 1.3, 1.2], lw=1, color=COLORS[0])
    both = milliseconds["extract"] + milliseconds["recall"]
    axis.text(
        (left + right) / 2, 1.34, f"{both:.2g} ms (paper: under {paper:g} ms)", ha="center",
        va="bottom", fontsize=8, color=COLORS[0],
    )  # fmt: skip

    training = (centers["extract"] + centers["rank"]) / 2
    _box(
        axis, training, -2.2, "every night: train, export, index, gate, swap", COLORS[3],
        width=4.6, height=0.62,
    )  # fmt: skip
    for name in ("extract", "recall", "rank"):
        _arrow(axis, (centers[name], -1.89), (centers[name], -1.1), COLORS[3])
    axis.plot([centers["store"]] * 2, [-1.1, -2.2], lw=1.2, color=COLORS[3])
    _arrow(axis, (centers["store"], -2.2), (training - 2.3, -2.2), COLORS[3])
    axis.text(centers["store"] + 0.08, -1.75, "the log", fontsize=8, color=COLORS[3])
    return figure


def latency(
    stages: Mapping[str, tuple[float, float]], aims: Mapping[str, float] | None = None
) -> Figure:
    """`latency_by_stage` with an axis that can be read below a millisecond, too."""
    figure = latency_by_stage(stages, aims)
    axis = figure.axes[0].xaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
    return figure


def watched(
    visitor: Visitor, before: Walk, after: Walk, cluster: int, clicks: int, *, first: int = 100
) -> Figure:
    """What clicks change: the past, what each interest finds, and the list, by cluster.

    Each bar of the middle is an interest, as long as it has found candidates among the first; its
    number means nothing, and is another one in another past. On the right each tile is a place of
    the list, with the interest that found it.

    Args:
        before, after: without the clicks and with them.
        cluster: where she clicks.
        first: candidates that are counted, the best ones by recall.
    """
    figure, (past, found, page) = plt.subplots(
        1, 3, figsize=(10.5, 3.8), layout="constrained", width_ratios=(1, 1.25, 1.35)
    )
    shown = [*visitor.own, *([] if cluster in visitor.own else [cluster])]
    colors = dict(zip(shown, COLORS, strict=False))
    own = np.bincount(np.maximum(visitor.clusters[visitor.past], 0), minlength=max(shown) + 1)
    places = np.arange(len(shown))
    past.barh(places, own[shown], 0.6, color=[colors[c] for c in shown])
    if clicks:
        past.barh(
            shown.index(cluster), clicks, 0.6, left=own[cluster], color=colors[cluster], alpha=0.5,
            hatch="///", edgecolor=INK, lw=0,
        )  # fmt: skip
    past.set_yticks(
        places, [f"cluster {c}" + " (clicks)" * (c == cluster) for c in shown], fontsize=8
    )
    past.invert_yaxis()
    past.set(xlabel="behaviours", title=f"her past and {clicks} clicks")

    best = after.candidates.take(np.arange(min(first, len(after.candidates))))
    for place in range(len(after.interests)):
        kinds = kinds_of(visitor, best)[best.interests == place]
        left = 0
        for kind in (*shown, None):
            count = int(
                (kinds == kind).sum() if kind is not None else (~np.isin(kinds, shown)).sum()
            )
            color = INK if kind is None else colors[kind]
            found.barh(place, count, 0.6, left=left, color=color, alpha=0.35 if kind is None else 1)
            left += count
    found.set_yticks(
        range(len(after.interests)), [f"interest {n}" for n in range(len(after.interests))],
        fontsize=8,
    )  # fmt: skip
    found.invert_yaxis()
    found.set(xlabel=f"of the best {len(best)} candidates", title="interests and what they find")

    for side, (name, walked) in enumerate((("before", before), ("after", after))):
        _tiles(page, visitor, walked.shown, colors, 3.2 * side)
        page.text(3.2 * side + 0.9, -1.0, name, ha="center", fontsize=9)
    page.set(xlim=(-0.7, 5.3), ylim=(len(after.shown.items) / 2 - 0.3, -1.3))
    page.axis("off")
    page.set_title("the list: cluster, and by which interest")
    return figure


def kinds_of(visitor: Visitor, listed: Candidates) -> Int[np.ndarray, " n"]:
    """The cluster of each item of a list."""
    return visitor.clusters[listed.items]


def _tiles(
    axis: Axes, visitor: Visitor, listed: Candidates, colors: Mapping[int, str], x: float
) -> None:
    """The list in two columns."""
    kinds = kinds_of(visitor, listed)
    rows = (len(kinds) + 1) // 2
    for place, (kind, interest) in enumerate(zip(kinds, listed.interests, strict=True)):
        column, row = divmod(place, rows)
        color = colors.get(int(kind), INK)
        known = int(kind) in colors
        axis.add_patch(
            FancyBboxPatch(
                (x + 1.2 * column - 0.1, row - 0.35),
                1.0,
                0.7,
                boxstyle="round,pad=0.02",
                fc=color,
                ec="none",
                alpha=1 if known else 0.2,
            )
        )
        axis.text(
            x + 1.2 * column + 0.4, row, f"{kind} · {interest}", ha="center", va="center",
            fontsize=7, color="#f4f4f4" if known else INK,
        )  # fmt: skip


def _box(
    axis: Axes, x: float, y: float, text: str, color: str, *,
    width: float = BOX, height: float = HEIGHT,
) -> None:  # fmt: skip
    axis.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.12",
            fc="none",
            ec=color,
            lw=1.6,
        )
    )
    axis.text(x, y, text, ha="center", va="center", color=color)


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK,
    style: str = "-",
) -> None:  # fmt: skip
    arrow = {"arrowstyle": "->", "color": color, "lw": 1.2, "ls": style, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=arrow)
