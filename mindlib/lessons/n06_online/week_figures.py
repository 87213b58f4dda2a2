"""The figures of notebook 06 that are about the online experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK

MARKERS = "osD^vPX*"


def ctr_by_day(arms: Mapping[str, Sequence[Estimate]]) -> Figure:
    """The CTR of each day with its 95 % interval, an arm a colour; arms stand side by side.

    Args:
        arms: the days of each arm, in order.
    """
    figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
    step = 0.7 / len(arms)
    for number, (name, rates) in enumerate(arms.items()):
        days = np.arange(1, len(rates) + 1) + (number - (len(arms) - 1) / 2) * step
        _errorbar(
            axis, days, rates, color=COLORS[number % len(COLORS)], label=name,
            fmt=MARKERS[number % len(MARKERS)] + "-", lw=1, alpha=0.9,
        )  # fmt: skip
    axis.set(xlabel="day", ylabel="CTR, percent")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=8, ncols=min(4, len(arms)), loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def ctr_against_interests(
    fixed: Mapping[int, Estimate],
    dynamic: tuple[float, Estimate],
    lines: Mapping[str, Estimate],
) -> Figure:
    """CTR against what it costs: searches of the index a request, of which a fixed K makes K.

    Args:
        fixed: the CTR of each fixed K.
        dynamic: the searches a request and the CTR of dynamic K; a star.
        lines: arms that have no K, as lines with their intervals as bands.
    """
    figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    _errorbar(
        axis, np.array(list(fixed)), list(fixed.values()), fmt="o-", color=COLORS[0],
        label="MIND, K fixed",
    )  # fmt: skip
    searches, rate = dynamic
    _errorbar(
        axis, np.array([searches]), [rate], fmt="*", ms=12, color=COLORS[1],
        label=f"MIND, dynamic K ({searches:.1f} searches)",
    )  # fmt: skip
    for color, (name, line) in zip(COLORS[2:], lines.items(), strict=False):
        axis.axhline(100 * line.value, color=color, ls="--", lw=1.2, label=name)
        axis.axhspan(100 * line.low, 100 * line.high, color=color, alpha=0.15, lw=0)
    axis.set(xlabel="searches of the index a request (fixed K: K)", ylabel="CTR, percent")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def a_over_a(
    p_values: Float[np.ndarray, " tests"],
    looks: Mapping[str, Float[np.ndarray, " days"]],
    *,
    alpha: float = 0.05,
    bins: int = 20,
) -> Figure:
    """Left: the p-values of A/A tests, which should be even; right: what looking daily does.

    The band on the left is where 95 % of the bars of even p-values lie.

    Args:
        looks: by rule, the share of the A/A tests that it has stopped by each day.
        alpha: the level that was meant.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.1), layout="constrained")
    tests = len(p_values)
    left.hist(p_values, bins=np.linspace(0, 1, bins + 1).tolist(), color=COLORS[0], alpha=0.8)
    low, high = stats.binom(tests, 1 / bins).interval(0.95)
    left.axhspan(float(low), float(high), color=INK, alpha=0.25, lw=0)
    left.axhline(tests / bins, color=INK, lw=1, ls="--")
    left.set(xlabel="p-value", ylabel="A/A tests", xlim=(0, 1), title=f"{tests:,} A/A tests")
    for color, marker, (name, shares) in zip(COLORS, MARKERS, looks.items(), strict=False):
        days = np.arange(1, len(shares) + 1)
        right.plot(days, 100 * shares, marker + "-", color=color, ms=5, label=name)
    right.axhline(100 * alpha, color=INK, lw=1, ls="--")
    right.set(
        xlabel="day", ylabel="stopped with a finding, percent", ylim=(0, None),
        title="there is nothing to find",
    )  # fmt: skip
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(fontsize=8)
    return figure


def _errorbar(
    axis: Axes, x: np.ndarray, rates: Sequence[Estimate], *, fmt: str, color: str, **style: object
) -> None:
    values, low, high = 100 * np.array([(r.value, r.low, r.high) for r in rates]).T
    options: dict[str, object] = {"ms": 5, "capsize": 2, "elinewidth": 1} | style
    axis.errorbar(x, values, yerr=(values - low, high - values), fmt=fmt, color=color, **options)  # pyright: ignore[reportArgumentType]
