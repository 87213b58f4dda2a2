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
from matplotlib.ticker import FixedLocator, MaxNLocator

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK

BOX, GAP, HEIGHT = 1.42, 1.45, 1.0
SIDE = 0.57  # of the nightly job's arrows, beside the text below a box
POWER = 0.8  # at which an effect is the minimum detectable one
STAGES = {
    "store": "behavior\nstore",
    "extract": "interest\nextractor\n(MIND)",
    "recall": "recall\nengine",
    "rank": "ranking\n(DIN)",
    "rerank": "re-ranking\nrule",
}


def system(
    milliseconds: Mapping[str, float], *,
    behaviors: int, interests: int, candidates: int, shown: int,
) -> Figure:  # fmt: skip
    """Draw the platform of §5: the path of a request, of a click, and of the nightly refresh.

    Args:
        milliseconds: median duration of each stage of `STAGES`.
        behaviors, interests: number and K'_u of the user whose request is drawn.
        candidates: number of items that recall passes to the ranker.
        shown: length of the list.
    """
    figure, axis = plt.subplots(figsize=(9.4, 3.7), layout="constrained")
    axis.set(xlim=(-1.15, 5 * BOX + 4 * GAP + 1.0), ylim=(-2.55, 2.35))
    axis.axis("off")
    centers = {name: BOX / 2 + n * (BOX + GAP) for n, name in enumerate(STAGES)}
    last = centers["rerank"] + BOX / 2
    for name, text in STAGES.items():
        _box(axis, centers[name], 0.0, text, COLORS[0] if name in ("extract", "recall") else INK)
        _text(axis, centers[name], -0.62, f"{milliseconds[name]:.2g} ms", COLORS[1], va="top")
    count = f"{behaviors}\nbehaviors", f"{interests} vectors", f"{candidates:,}\ncandidates"
    handed = (*count, "reordered")
    for (left, right), what in zip(itertools.pairwise(STAGES), handed, strict=True):
        _arrow(axis, (centers[left] + BOX / 2, 0.0), (centers[right] - BOX / 2, 0.0))
        _text(axis, (centers[left] + centers[right]) / 2, 0.1, what)
    _text(axis, -0.62, -0.62, "measured\nhere", COLORS[1], va="top")
    for x, what in ((-0.95, "user id"), (last, f"list of\n{shown}")):
        _arrow(axis, (x, 0.0), (x + 0.95, 0.0))
        _text(axis, x + 0.45, 0.1, what)

    start, end = centers["extract"] - BOX / 2, centers["recall"] + BOX / 2
    axis.plot([start, start, end, end], [0.65, 0.8, 0.8, 0.65], lw=1.2, color=COLORS[0])
    _text(axis, (start + end) / 2, 0.88, "paper: less than 15 ms together", COLORS[0])
    path = [last + 0.95, last + 0.95, centers["store"]]
    axis.plot(path, [0.0, 1.85, 1.85], ls="--", lw=1.2, color=COLORS[2])
    _arrow(axis, (centers["store"], 1.85), (centers["store"], HEIGHT / 2), COLORS[2], "--")
    _text(axis, centers["recall"], 1.93, "a click is in the history of the next request", COLORS[2])

    job = "every night: train (with label-aware attention),\nindex, gate, swap"
    _box(axis, centers["recall"], -2.1, job, COLORS[3], width=7.2, height=0.8)
    for name in ("extract", "recall", "rank"):
        _arrow(axis, (centers[name] + SIDE, -1.7), (centers[name] + SIDE, -HEIGHT / 2), COLORS[3])
    out = centers["store"] + SIDE
    axis.plot([out, out], [-HEIGHT / 2, -2.1], lw=1.2, color=COLORS[3])
    _arrow(axis, (out, -2.1), (centers["recall"] - 3.6, -2.1), COLORS[3])
    _text(axis, out + 0.3, -1.7, "log", COLORS[3])
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
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.4), layout="constrained")
    edges = np.linspace(0, 1, bins + 1)
    for color, (unit, values) in zip(COLORS, p_values.items(), strict=False):
        share = 100 * np.histogram(values, edges)[0] / len(values)
        label = f"{unit}: {share[0]:.1f} % in the first bin"
        left.stairs(share, edges, baseline=None, color=color, lw=2, label=label)
    left.axhline(100 / bins, color=INK, lw=1, ls="--", label=f"uniform: {100 / bins:.0f} %")
    left.set(xlabel="p-value", ylabel=f"A/A tests per bin of {1 / bins:.2g}, percent", xlim=(0, 1))
    for color, (name, shares) in zip(COLORS[2:], looks.items(), strict=False):
        label = f"{name}: {100 * shares[-1]:.1f} % by evening {len(shares)}"
        right.plot(np.arange(1, len(shares) + 1), 100 * shares, "o-", color=color, label=label)
    right.axhline(100 * alpha, color=INK, lw=1, ls="--", label=f"intended: {100 * alpha:.0f} %")
    right.set(xlabel="evening", ylabel="A/A tests stopped so far, percent")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in (left, right):
        axis.set_ylim(0, 1.35 * axis.get_ylim()[1])
        axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.legend(fontsize=10, loc="upper right" if axis is left else "upper left")
    return figure


def power(
    effects: Float[np.ndarray, " effects"],
    curves: Mapping[str, Float[np.ndarray, " effects"]],
) -> Figure:
    """Draw the probability of a significant result against the true effect.

    Args:
        effects: relative changes of the CTR.
        curves: the power at each effect, by the size of the test.
    """
    figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
    axis.axhline(100 * POWER, color=INK, lw=1, ls="--")
    for color, (name, values) in zip(COLORS, curves.items(), strict=False):
        smallest = 100 * float(np.interp(POWER, values, effects))
        axis.plot(100 * effects, 100 * values, color=color, lw=2)
        axis.plot(smallest, 100 * POWER, "o", color=color)
        label = f"  {name}\n  MDE +{smallest:.1f} %"
        axis.text(smallest, 78, label, va="top", color=color, fontsize=10)
    axis.set(xlabel="true change of the CTR, percent (logarithmic scale)", ylabel="power, percent")
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator([0.2, 0.5, 1, 2, 5, 10, 20, 50]))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    return figure


def arms(
    names: Sequence[str],
    over_users: Sequence[Estimate],
    over_runs: Sequence[Estimate],
    runs: Float[np.ndarray, "arms runs"],
) -> Figure:
    """Draw the difference of each arm's CTR from the control's, with two intervals and its runs.

    Args:
        over_users: the interval covers the sampling of users.
        over_runs: the interval covers users and training runs.
        runs: the difference of each training run from the mean of the control.
    """
    figure, axis = plt.subplots(figsize=(9, 0.9 + 0.45 * len(names)), layout="constrained")
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
    for row, values in zip(rows + 0.14, 100 * runs, strict=True):
        label = "" if row > 1 else "users of one training run"
        axis.plot(values, [row] * len(values), "|", color=INK, ms=10, mew=2, label=label)
    axis.axvline(0, color=INK, lw=1, ls="--")
    axis.set_yticks(rows, names, fontsize=10)
    axis.invert_yaxis()
    axis.set_xlabel("CTR minus the control's, percentage points")
    figure.legend(fontsize=10, loc="outside lower center", ncols=3)
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
    figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
    days, values = np.arange(len(recall)), np.array(recall)
    ok = np.r_[True, passed]
    label = f"limit of the fixed reference: {100 * reference:.0f} % below night 0"
    axis.axhline((1 - reference) * values[0], color=COLORS[1], lw=2, label=label)
    label = f"limit of yesterday's version: {100 * tolerance:.0f} % below the night before"
    limits = (1 - tolerance) * values[:-1]
    axis.plot(days[1:], limits, "_", color=COLORS[0], ms=18, mew=2, zorder=3, label=label)
    axis.plot(days, values, color=INK, lw=1)
    axis.plot(days[ok], values[ok], "o", color=COLORS[2], ms=6, label="within both limits")
    label = "below the reference's limit"
    axis.plot(days[~ok], values[~ok], "X", color=COLORS[5], ms=6, label=label)
    axis.set(xlabel="night", ylabel="Recall@50")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(fontsize=10, loc="outside upper center", ncols=2)
    return figure


def _box(
    axis: Axes, x: float, y: float, text: str, color: str, *,
    width: float = BOX, height: float = HEIGHT,
) -> None:  # fmt: skip
    corner = (x - width / 2, y - height / 2)
    style = "round,pad=0,rounding_size=0.12"
    axis.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=style, fc="none", ec=color, lw=1.6)
    )
    _text(axis, x, y, text, color, va="center")


def _text(axis: Axes, x: float, y: float, text: str, color: str = INK, va: str = "bottom") -> None:
    axis.text(x, y, text, ha="center", va=va, color=color, fontsize=10)


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK,
    style: str = "-",
) -> None:  # fmt: skip
    arrow = {"arrowstyle": "->", "color": color, "lw": 1.2, "ls": style, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=arrow)
