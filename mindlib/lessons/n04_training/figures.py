"""The figures of notebook 04 that are about training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n04_training.sampled import Bias
from mindlib.lessons.n04_training.steps import Paths, StepCost
from mindlib.training import EpochRecord


def bias_by_number(
    numbers: Sequence[int], found: Mapping[str, Sequence[Bias]], dashed: Sequence[str] = ()
) -> Figure:
    """How far the sampled loss and its gradient are from the full softmax, over n.

    Args:
        numbers: n.
        found: a bias for each n, by the way of sampling.
        dashed: the ways that have no correction.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.axhline(0, color=INK, lw=0.8)
    for color, (name, row) in zip(COLORS, found.items(), strict=False):
        style = "--" if name in dashed else "-"
        estimates = [b.loss for b in row]
        left.errorbar(
            numbers, [e.value for e in estimates], yerr=_reach(estimates), color=color,
            ls=style, marker="o", ms=3.5, capsize=2, label=name,
        )  # fmt: skip
        right.plot(numbers, [b.gradient for b in row], color=color, ls=style, marker="o", ms=3.5)
    luck = np.max([[b.luck for b in row] for row in found.values()], axis=0)
    right.fill_between(numbers, 0, luck, color=INK, alpha=0.25, lw=0)
    right.annotate("luck of the draws", (numbers[1], luck[1]), color=INK, va="bottom", fontsize=8)
    left.set(xscale="log", xlabel="negatives n", ylabel="sampled loss less full, nats")
    right.set(
        xscale="log", xlabel="negatives n", ylabel="mean gradient: distance from full",
        ylim=(0, None),
    )  # fmt: skip
    left.legend(fontsize=8)
    return figure


def _reach(estimates: Sequence[Estimate]) -> Float[np.ndarray, "2 n"]:
    return np.array([[e.value - e.low, e.high - e.value] for e in estimates]).T


def learnt_shares(
    truth: Sequence[float], learnt: Mapping[str, Sequence[float]], labels: Sequence[str]
) -> Figure:
    """What each loss makes of the items' true shares: bars, and the truth as a line on each."""
    figure, axis = plt.subplots(figsize=(8, 2.9), layout="constrained")
    width = 0.8 / len(learnt)
    places = np.arange(len(truth))
    for number, (color, (name, shares)) in enumerate(zip(COLORS, learnt.items(), strict=False)):
        left = places - 0.4 + (number + 0.5) * width
        axis.bar(left, shares, width * 0.9, color=color, label=name)
    axis.hlines(truth, places - 0.42, places + 0.42, color=INK, lw=1.5, label="the truth")
    axis.set_xticks(places, labels)
    axis.set(ylabel="share that is learnt", ylim=(0, 1))
    axis.legend(fontsize=8)
    return figure


def settings_compared(
    groups: Mapping[str, Mapping[str, Float[np.ndarray, " seeds"]]],
    metric: str,
    bounds: Mapping[str, float],
) -> Figure:
    """A panel for each group: every seed as a dot, the mean as a line, floor and ceiling dotted."""
    sizes = [len(group) for group in groups.values()]
    figure, axes = plt.subplots(
        1, len(groups), figsize=(10, 3.4), layout="constrained", sharey=True,
        width_ratios=sizes, squeeze=False,
    )  # fmt: skip
    for axis, color, (title, group) in zip(axes[0], COLORS, groups.items(), strict=False):
        for place, values in enumerate(group.values()):
            spots = place + 0.12 * (np.arange(len(values)) - (len(values) - 1) / 2)
            axis.plot(spots, 100 * values, "o", ms=4, color=color)
            axis.hlines(100 * values.mean(), place - 0.3, place + 0.3, color=color, lw=2)
        for name, level in bounds.items():
            axis.axhline(100 * level, color=INK, ls=":", lw=1)
            if axis is axes[0, 0]:
                axis.annotate(
                    name, (len(group) - 0.5, 100 * level), color=INK, fontsize=8,
                    va="bottom", ha="right",
                )  # fmt: skip
        axis.set_xticks(range(len(group)), list(group), rotation=30, ha="right", fontsize=8)
        axis.set(title=title, xlim=(-0.5, len(group) - 0.5))
    axes[0, 0].set(ylabel=f"{metric}, %", ylim=(0, None))
    return figure


def adam_paths(paths: Paths, names: Sequence[str]) -> Figure:
    """Where each row goes by both optimisers; a tick below for each step that touches it."""
    figure, axes = plt.subplots(
        1, len(names), figsize=(8.5, 2.9), layout="constrained", sharey=True, squeeze=False
    )
    steps = np.arange(len(paths.dense))
    lowest = min(paths.dense.min(), paths.by_rows.min())
    for row, (axis, name) in enumerate(zip(axes[0], names, strict=True)):
        axis.plot(steps, paths.dense[:, row], color=COLORS[1], lw=3.5, alpha=0.6, label="dense")
        axis.plot(steps, paths.by_rows[:, row], color=COLORS[0], lw=1.6, label="by rows")
        touched = np.flatnonzero(paths.touched[:, row]) + 1
        axis.plot(touched, np.full(len(touched), lowest * 1.08), "|", color=INK, ms=7)
        axis.set(title=name, xlabel="step (a tick: the row has a gradient)")
    axes[0, 0].set(ylabel="the weight")
    axes[0, 0].legend()
    return figure


def step_costs(live: Sequence[StepCost]) -> Figure:
    """Milliseconds and gigabytes of a step against the size of the table."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 2.9), layout="constrained")
    rows = [cost.rows for cost in live]
    for color, name, times in (
        (COLORS[1], "dense Adam", [c.dense for c in live]),
        (COLORS[0], "by rows", [c.by_rows for c in live]),
    ):
        left.plot(rows, times, "o-", color=color, label=name)
    right.plot(rows, [c.gigabytes + c.gradient for c in live], "o-", color=COLORS[1])
    right.plot(rows, [c.gigabytes for c in live], "o-", color=COLORS[0])
    left.set(xscale="log", yscale="log", xlabel="items", ylabel="ms a step")
    right.set(xscale="log", yscale="log", xlabel="items", ylabel="GB of table, moments, gradient")
    left.legend()
    return figure


def survived(
    log: Sequence[EpochRecord], again: Sequence[EpochRecord], metric: str, died: float
) -> Figure:
    """A log and that of the interrupted training on top of it: loss, metric, learning rate.

    Args:
        log, again: of the uninterrupted training, and of the one that was killed.
        died: when, in epochs.
    """
    figure, axes = plt.subplots(1, 3, figsize=(9.5, 2.8), layout="constrained")
    for axis, key, label, factor in zip(
        axes, ("loss", metric, "learning_rate"),
        ("training loss", f"validation {metric}, %", "learning rate after the epoch"),
        (1, 100, 1), strict=True,
    ):  # fmt: skip
        for records, style, name in (
            (log, {"color": COLORS[0], "lw": 2}, "never interrupted"),
            (again, {"color": COLORS[1], "marker": "o", "ls": "", "ms": 4.5}, "killed, resumed"),
        ):
            values = [factor * record[key] for record in records]
            axis.plot([record.epoch for record in records], values, label=name, **style)
        axis.axvline(died, color=COLORS[5], ls=":", lw=1.5, label="SIGKILL")
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(fontsize=8)
    return figure


def one_and_two(
    alone: Mapping[str, Sequence[float]], together: Mapping[str, Sequence[float]]
) -> Figure:
    """The losses of one process (lines) and of two (rings), a panel for each model."""
    figure, axes = plt.subplots(
        1, len(alone), figsize=(8, 2.8), layout="constrained", squeeze=False
    )
    for axis, name in zip(axes[0], alone, strict=True):
        epochs = np.arange(1, len(alone[name]) + 1)
        axis.plot(epochs, alone[name], color=COLORS[0], lw=2, label="one process")
        axis.plot(
            epochs, together[name], "o", ms=8, mfc="none", mew=1.8, color=COLORS[1],
            label="two, the same global batch",
        )  # fmt: skip
        axis.set(title=name, xlabel="epoch", ylabel="training loss")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].legend(fontsize=8)
    return figure
