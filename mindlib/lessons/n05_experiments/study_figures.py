"""The figures of notebook 05 that show what `benchmarks/experiments.py` has recorded (§4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n05_experiments.breadth import Group

# For values that have an order. Middle tones all the way, which COLORMAP's two ends are not: a
# line in one of them would be lost on a light or on a dark page.
ORDERED = LinearSegmentedColormap.from_list("ordered", [COLORS[0], COLORS[3], COLORS[5], COLORS[1]])
MARKERS = "osD^vP*X"
LINEAR = 2  # points up to which differences to a reference have a linear axis


def factor_curves(
    values: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]],
    *,
    label: str,
    start: float | None = None,
) -> Figure:
    """What one factor does: a panel for each metric, a line for each part, a dot for each seed.

    The values stand at equal distances, whatever they are: ∞ has no other place.

    Args:
        values: metric, part, value of the factor, seeds; as `factor_values` gives them.
        label: what the factor is called.
        start: the value that the study starts from, a dotted line.

    Raises:
        ValueError: nothing to show, or start is none of the values.
    """
    _expect(values, "a metric")
    figure, axes = plt.subplots(
        1, len(values), figsize=(max(4.6, 3.4 * len(values)), 3.1), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for axis, (metric, parts) in zip(axes[0], values.items(), strict=True):
        factors = sorted({factor for part in parts.values() for factor in part})
        _expect(factors, f"a value of {label} in {metric}")
        if start is not None and start not in factors:
            known = ", ".join(f"{factor:g}" for factor in factors)
            raise ValueError(f"start={start:g}: expected one of {known}")
        for color, (part, seeds) in zip(COLORS, parts.items(), strict=False):
            places = [place for place, factor in enumerate(factors) if factor in seeds]
            found = [_scale(metric) * np.asarray(seeds[factors[place]]) for place in places]
            axis.plot(places, [f.mean() for f in found], color=color, lw=1.4, label=part)
            dots = np.repeat(places, [len(f) for f in found])
            axis.scatter(dots, np.concatenate(found), color=color, s=16, lw=0, alpha=0.8)
        if start is not None:
            axis.axvline(factors.index(start), color=INK, ls=":", lw=1, zorder=0)
        names = ["∞" if factor == float("inf") else f"{factor:g}" for factor in factors]
        axis.set_xticks(range(len(factors)), names)
        axis.set(xlabel=label, ylabel=_with_unit(metric), xlim=(-0.4, len(factors) - 0.6))
    handles, names = axes[0][0].get_legend_handles_labels()
    if start is not None:
        handles.append(Line2D([], [], color=INK, ls=":", lw=1))
        names.append("where the study starts")
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    return figure


def convergence(curves: Mapping[str, Sequence[Sequence[float]]], metric: str) -> Figure:
    """A validation metric after each epoch: a line for each seed, a colour for each value.

    Args:
        curves: for each row of a study, in the order of its values, the lines of its seeds; as
            `recorded_tables.curves` gives them.

    Raises:
        ValueError: nothing to show.
    """
    _expect(curves, "a row")
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for number, (name, lines) in enumerate(curves.items()):
        color = ORDERED(number / max(1, len(curves) - 1))
        for seed, line in enumerate(lines):
            axes.plot(
                np.arange(1, len(line) + 1), _scale(metric) * np.asarray(line), color=color, lw=1.2,
                marker=MARKERS[number % len(MARKERS)], ms=3.5, label=None if seed else name,
            )  # fmt: skip
    axes.set(xlabel="epoch", ylabel=f"validation {_with_unit(metric)}")
    longest = max(len(line) for lines in curves.values() for line in lines)
    axes.set_xlim(0.5, longest + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.legend(loc="outside right upper")
    return figure


def metric_by_n(
    panels: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]],
    *,
    reference: str | None = None,
) -> Figure:
    """A metric at every N: a panel for each metric, a line for each model.

    Bands reach from the least to the largest of a model's seeds. Where a reference is named, a
    second row has what each model has beyond the reference's mean over seeds, in points, on an
    axis that is logarithmic for large differences.

    Args:
        panels: metric, model, N, seeds; the metrics without N, as `by_n` gives them. Where a panel
            is one of several data sets, so that the metric comes last: "Beauty: Recall".
        reference: one of the models.

    Raises:
        ValueError: nothing to show, or no such model in one of the panels.
    """
    _expect(panels, "a metric")
    for metric, models in panels.items():
        _expect(models, f"a model in {metric}")
        if reference is not None and reference not in models:
            raise ValueError(f"reference={reference!r}: expected one of {', '.join(models)}")
    rows = 1 if reference is None else 2
    figure, axes = plt.subplots(
        rows, len(panels), figsize=(max(5.0, 4.6 * len(panels)), 0.6 + 2.7 * rows),
        layout="constrained", squeeze=False, sharex="col",
    )  # fmt: skip
    for column, (metric, models) in enumerate(panels.items()):
        _lines_by_n(axes[0, column], models, {})
        axes[0, column].set(title=f"{metric}@N", ylabel="percent")
        if reference is not None:
            base = {n: float(np.mean(seeds)) for n, seeds in models[reference].items()}
            _lines_by_n(axes[1, column], models, base)
            _log_beyond(axes[1, column])
            axes[1, column].set_ylabel(f"points beyond {reference}\n(log beyond ±{LINEAR})")
        numbers = sorted({n for by_number in models.values() for n in by_number})
        axis = axes[-1, column]
        axis.set_xlabel("N")
        axis.set_xscale("log")
        axis.set_xticks(numbers)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 5))
    return figure


def _lines_by_n(
    axis: Axes, models: Mapping[str, Mapping[int, Sequence[float]]], base: Mapping[int, float]
) -> None:
    """A line and a band for each model, less what base has at the same N."""
    for number, (name, by_number) in enumerate(models.items()):
        color = COLORS[number % len(COLORS)]
        shown = [n for n in sorted(by_number) if not base or n in base]
        seeds = [100 * (np.asarray(by_number[n]) - base.get(n, 0.0)) for n in shown]
        axis.fill_between(
            shown, [s.min() for s in seeds], [s.max() for s in seeds], color=color, alpha=0.2, lw=0
        )
        style = "--" if number >= len(COLORS) else "-"
        axis.plot(shown, [s.mean() for s in seeds], color=color, ls=style, lw=1.4,
                  marker=MARKERS[number % len(MARKERS)], ms=3.5, label=name)  # fmt: skip


def _log_beyond(axis: Axes) -> None:
    """Floors are tens of points away, the models in question a few: both are to be seen."""
    low, high = axis.get_ylim()
    axis.set_yscale("symlog", linthresh=LINEAR, linscale=1.5)
    ticks = (-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50)
    axis.set_yticks([tick for tick in ticks if low <= tick <= high])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_ylim(low, high)


def gains_by_categories(groups: Mapping[str, Sequence[Group]], *, metric: str) -> Figure:
    """Whom one model helps more than another: the difference by the categories of the past.

    A panel for each comparison, and in it a point with its 95 % interval for each group of users
    that has one; below each the number of users.

    Args:
        groups: for each comparison, such as "MIND-4 − MIND-1", the groups.

    Raises:
        ValueError: nothing to show.
    """
    _expect(groups, "a comparison")
    widths = [max(2, len(bins)) for bins in groups.values()]
    figure, axes = plt.subplots(
        1, len(groups), figsize=(max(4.0, 0.9 + 0.72 * sum(widths)), 3.1), layout="constrained",
        squeeze=False, sharey=True, width_ratios=widths,
    )  # fmt: skip
    for number, (axis, (name, bins)) in enumerate(zip(axes[0], groups.items(), strict=True)):
        _expect(bins, f"a group of users in {name}")
        axis.axhline(0, color=INK, lw=0.8, zorder=0)
        known = [(place, g.difference) for place, g in enumerate(bins) if g.difference is not None]
        if known:
            places, found = zip(*known, strict=True)
            value, reach = _reach(found, metric)
            color = COLORS[number % len(COLORS)]
            axis.errorbar(places, value, yerr=reach, fmt="o", color=color, ms=5, capsize=3, lw=1.4)
        labels = [f"{group.label.replace(' or more', '+')}\n{group.users:,}" for group in bins]
        axis.set_xticks(range(len(bins)), labels)
        axis.tick_params(axis="x", labelsize=8)
        axis.set(title=name, xlim=(-0.6, len(bins) - 0.4))
    axes[0][0].set_ylabel(f"difference in {metric}, {_points(metric)}")
    figure.supxlabel("categories in the user's history, and below how many users", fontsize=9)
    return figure


def ablation(rows: Sequence[tuple[str, Estimate]], *, metric: str) -> Figure:
    """What each change costs or gives: points with their 95 % intervals, the least first.

    The colour says on which side of zero the whole interval lies.

    Args:
        rows: what was changed, and its difference to the chosen setting.

    Raises:
        ValueError: nothing to show.
    """
    _expect(rows, "a row")
    ordered = sorted(rows, key=lambda row: row[1].value)
    verdicts = {"worse": COLORS[1], "undecided": INK, "better": COLORS[0]}
    figure, axis = plt.subplots(figsize=(7, 1.0 + 0.3 * len(rows)), layout="constrained")
    axis.axvline(0, color=INK, lw=0.8, zorder=0)
    for place, (_, found) in enumerate(ordered):
        verdict = "worse" if found.high < 0 else "better" if found.low > 0 else "undecided"
        value, reach = _reach([found], metric)
        axis.errorbar(
            value, [place], xerr=reach, fmt="o", color=verdicts[verdict], ms=5, capsize=3, lw=1.4
        )
    axis.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axis.set_ylim(len(ordered) - 0.4, -0.6)
    axis.set_xlabel(f"change of {metric}, {_points(metric)}")
    handles = [Line2D([], [], color=c, marker="o", ms=5, lw=1.4) for c in verdicts.values()]
    figure.legend(handles, list(verdicts), loc="outside upper right", ncols=3, fontsize=8)
    return figure


def _scale(metric: str) -> float:
    """Shares are shown in percent; Categories@N is a number."""
    return 1.0 if metric.startswith("Categories@") else 100.0


def _reach(
    estimates: Sequence[Estimate], metric: str
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "2 n"]]:
    """The values, and how far each interval reaches below and above."""
    value, low, high = _scale(metric) * np.array([(e.value, e.low, e.high) for e in estimates]).T
    return value, np.array([value - low, high - value])


def _with_unit(metric: str) -> str:
    return metric if _scale(metric) == 1 else f"{metric}, percent"


def _points(metric: str) -> str:
    return "a number" if _scale(metric) == 1 else "points"


def _expect(given: object, what: str) -> None:
    if not given:
        raise ValueError(f"nothing to show: expected at least {what}")
