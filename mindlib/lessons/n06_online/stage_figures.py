"""The figure of notebook 06 that says where the time of a request goes."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from mindlib.lessons.common.style import COLORS, INK


def latency_by_stage(
    stages: Mapping[str, tuple[float, float]], aims: Mapping[str, float] | None = None
) -> Figure:
    """A row for each stage, from the median (dot) to the 99th percentile (ring).

    Args:
        stages: the two, in milliseconds, by stage; the first is at the top.
        aims: milliseconds that a stage is held to, drawn as a tick.
    """
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.33 * len(stages)), layout="constrained")
    for place, (p50, p99) in enumerate(stages.values()):
        first = place == 0
        axis.plot([p50, p99], [place, place], "-", color=COLORS[0], lw=2, alpha=0.5)
        axis.plot(p50, place, "o", color=COLORS[0], label="half take at most" if first else None)
        axis.plot(
            p99, place, "o", color=COLORS[0], mfc="none", mew=1.5,
            label="99 in 100 take at most" if first else None,
        )  # fmt: skip
        axis.annotate(
            f"{p50:.3g} to {p99:.3g}", (p99, place), (8, 0), textcoords="offset points",
            va="center", fontsize=8, color=INK,
        )  # fmt: skip
    for number, (stage, aim) in enumerate((aims or {}).items()):
        place = list(stages).index(stage)
        axis.plot(
            aim, place, "|", ms=16, mew=2, color=COLORS[1], label=None if number else "the aim"
        )
    axis.set(xscale="log", xlabel="milliseconds", ylim=(len(stages) - 0.5, -0.5))
    low, high = axis.get_xlim()
    axis.set_xlim(low, high * (high / low) ** 0.22)  # room for the numbers
    for formatter in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axis.set_yticks(range(len(stages)), list(stages))
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3)
    return figure
