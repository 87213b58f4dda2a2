"""The figures of notebook 06: the system, A/A tests, power, the arms, and ten nights."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK

BOX, GAP, HEIGHT = 1.5, 0.66, 1.0
POWER = 0.8  # at which an effect is the minimum detectable one
STAGES = {
    "store": "behavior\nstore",
    "extract": "interest\nextractor\n(MIND)",
    "recall": "recall\nengine",
    "rank": "ranking\n(DIN)",
    "rerank": "re-ranking\nrule",
}


def system(
    milliseconds: Mapping[str, float], *, interests: int, candidates: int, shown: int
) -> Figure:
    """Draw the platform of §5: the path of a request, of a click, and of the nightly refresh.

    Args:
        milliseconds: median duration of each stage of `STAGES`.
        interests: K'_u of the user whose request is drawn.
        candidates: number of items that recall passes to the ranker.
        shown: length of the list.
    """
    figure, axis = plt.subplots(figsize=(10, 4.1), layout="constrained")
    axis.set(xlim=(-0.85, 5 * (BOX + GAP) + 1.45), ylim=(-2.75, 2.35))
    axis.axis("off")
    centers = {name: BOX / 2 + GAP + n * (BOX + GAP) for n, name in enumerate(STAGES)}
    for name, text in STAGES.items():
        _box(axis, centers[name], 0.0, text, COLORS[0] if name in ("extract", "recall") else INK)
        axis.text(
            centers[name], -0.62, f"{milliseconds[name]:.2g} ms", ha="center", va="top",
            color=COLORS[1], fontsize=10,
        )  # fmt: skip
    handed = ("history", f"{interests} vectors", f"{candidates:,}\ncandidates", "ordered")
    pairs = itertools.pairwise(STAGES)
    for (left, right), what in zip(pairs, handed, strict=True):
        middle = (centers[left] + centers[right]) / 2
        _arrow(axis, (centers[left] + BOX / 2, 0.0), (centers[right] - BOX / 2, 0.0))
        axis.text(middle, 0.6, what, ha="center", va="bottom", fontsize=9)
    first, last = centers["store"] - BOX / 2, centers["rerank"] + BOX / 2
    axis.text(-0.82, 0, "user id", va="center", ha="left")
    _arrow(axis, (-0.02, 0.0), (first, 0.0))
    _arrow(axis, (last, 0.0), (last + 0.5, 0.0))
    axis.text(last + 0.55, 0, f"list of\n{shown}", va="center", ha="left")

    axis.plot(
        [last + 0.9, last + 0.9, centers["store"]], [0.5, 2.0, 2.0], ls="--", lw=1.2,
        color=COLORS[2],
    )  # fmt: skip
    _arrow(axis, (centers["store"], 2.0), (centers["store"], HEIGHT / 2), COLORS[2], "--")
    axis.text(
        (centers["store"] + last) / 2, 2.04, "a click is in the history of the next request",
        ha="center", va="bottom", fontsize=10, color=COLORS[2],
    )  # fmt: skip

    training = (centers["extract"] + centers["rank"]) / 2
    _box(
        axis, training, -2.2, "every night: train (with label-aware attention),\nindex, gate, swap",
        COLORS[3], width=5.0, height=0.8,
    )  # fmt: skip
    for name in ("extract", "recall", "rank"):
        _arrow(axis, (centers[name], -1.8), (centers[name], -1.1), COLORS[3])
    axis.plot([centers["store"]] * 2, [-1.1, -2.2], lw=1.2, color=COLORS[3])
    _arrow(axis, (centers["store"], -2.2), (training - 2.5, -2.2), COLORS[3])
    axis.text(centers["store"] + 0.08, -1.75, "log", fontsize=10, color=COLORS[3])
    return figure


def a_over_a(
    p_values: Mapping[str, Float[np.ndarray, " tests"]],
    looks: Mapping[str, Float[np.ndarray, " days"]],
    *,
    alpha: float = 0.05,
    bins: int = 20,
) -> Figure:
    """Draw the p-values of A/A tests, and the share that daily looks have stopped by each day.

    Args:
        p_values: by the unit that is taken as independent.
        looks: by stopping rule.
        alpha: the intended level.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    edges = np.linspace(0, 1, bins + 1)
    for color, (unit, values) in zip(COLORS, p_values.items(), strict=False):
        share = 100 * np.histogram(values, edges)[0] / len(values)
        left.stairs(share, edges, color=color, lw=2, label=unit)
    left.axhline(100 / bins, color=INK, lw=1, ls="--", label="uniform")
    left.set(xlabel="p-value", ylabel="A/A tests, percent", xlim=(0, 1), ylim=(0, None))
    left.legend(fontsize=10)
    for color, (name, shares) in zip(COLORS[2:], looks.items(), strict=False):
        right.plot(np.arange(1, len(shares) + 1), 100 * shares, "o-", color=color, label=name)
    right.axhline(100 * alpha, color=INK, lw=1, ls="--", label=f"intended: {alpha:.0%}")
    right.set(xlabel="evening", ylabel="A/A tests stopped, percent", ylim=(0, None))
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(fontsize=10)
    return figure


def power(
    effects: Float[np.ndarray, " effects"],
    curves: Mapping[str, Float[np.ndarray, " effects"]],
) -> Figure:
    """Draw the probability of a significant result against the true effect.

    Args:
        effects: relative changes of the CTR.
        curves: the power at each effect, by the way the test is read.
    """
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for color, (name, values) in zip(COLORS, curves.items(), strict=False):
        smallest = 100 * float(np.interp(POWER, values, effects))
        label = f"{name}: {smallest:.1f} %"
        axis.plot(100 * effects, 100 * values, color=color, lw=2, label=label)
        axis.plot(smallest, 100 * POWER, "o", color=color)
    axis.axhline(100 * POWER, color=INK, lw=1, ls="--")
    axis.set(xlabel="true change of the CTR, percent", ylabel="power, percent", ylim=(0, 100))
    axis.legend(fontsize=10, loc="lower right")
    return figure


def arms(
    names: Sequence[str],
    searches: Sequence[float],
    over_users: Sequence[Estimate],
    over_runs: Sequence[Estimate],
    runs: Float[np.ndarray, "arms runs"],
) -> Figure:
    """Draw the difference of each arm's CTR from the control's, with two intervals and its runs.

    Args:
        searches: of the index, per request.
        over_users: the interval covers the sampling of users.
        over_runs: the interval covers users and training runs.
        runs: the difference of each training run from the mean of the control.
    """
    figure, axis = plt.subplots(figsize=(8, 0.9 + 0.5 * len(names)), layout="constrained")
    rows = np.arange(len(names))
    for shift, color, label, found in (
        (-0.14, COLORS[0], "interval over users", over_users),
        (0.14, COLORS[1], "interval over users and training runs", over_runs),
    ):
        value, low, high = 100 * np.array([(e.value, e.low, e.high) for e in found]).T
        axis.errorbar(
            value, rows + shift, xerr=(value - low, high - value), fmt="o", color=color, capsize=3,
            label=label,
        )  # fmt: skip
    axis.plot(100 * runs.T, np.tile(rows + 0.14, (runs.shape[1], 1)), "|", color=INK, ms=9, mew=1.5)
    axis.axvline(0, color=INK, lw=1, ls="--")
    cost = [
        f"{name}\n" + (f"{count:.1f} searches" if count else "no vector search")
        for name, count in zip(names, searches, strict=True)
    ]
    axis.set_yticks(rows, cost, fontsize=10)
    axis.invert_yaxis()
    axis.set_xlabel("CTR minus the control's, percentage points")
    axis.legend(fontsize=10, loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=2)
    return figure


def nights(
    recall: Sequence[float], passed: Sequence[bool], *, tolerance: float, reference: float
) -> Figure:
    """Draw the recall of each night's version, the limit of each gate, and who passes.

    Args:
        recall: of the first version and of each night's.
        passed: whether each night's version passes against yesterday's version and the reference.
        tolerance: share of yesterday's recall that may be lost.
        reference: the same of the first version's.
    """
    figure, axis = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    days, values = np.arange(len(recall)), np.array(recall)
    axis.plot(days, values, color=INK, lw=1)
    limits = (1 - tolerance) * values[:-1]
    axis.plot(
        days[1:], limits, "_", color=COLORS[0], ms=16, mew=2, zorder=3, label="limit by yesterday"
    )
    axis.axhline(
        (1 - reference) * values[0], color=COLORS[1], lw=2, label="limit by the fixed reference"
    )
    ok = np.r_[True, passed]
    axis.plot(days[ok], values[ok], "o", color=COLORS[2], ms=7, label="passes both")
    axis.plot(days[~ok], values[~ok], "X", color=COLORS[5], ms=8, label="stopped by the reference")
    axis.set(xlabel="night", ylabel="Recall@50", ylim=(0, None))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=10)
    return figure


def _box(
    axis: Axes, x: float, y: float, text: str, color: str, *,
    width: float = BOX, height: float = HEIGHT,
) -> None:  # fmt: skip
    patch = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.12",
        fc="none",
        ec=color,
        lw=1.6,
    )
    axis.add_patch(patch)
    axis.text(x, y, text, ha="center", va="center", color=color)


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK,
    style: str = "-",
) -> None:  # fmt: skip
    arrow = {"arrowstyle": "->", "color": color, "lw": 1.2, "ls": style, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=arrow)
