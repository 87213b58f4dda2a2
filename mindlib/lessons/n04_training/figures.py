"""The figures of notebook 04."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n04_training.clicks import ClickMap, match_interests
from mindlib.lessons.n04_training.sampled import Bias


def bias_by_number(
    numbers: Sequence[int], found: Mapping[str, Sequence[Bias]], dashed: Sequence[str] = ()
) -> Figure:
    """Draw the bias of each way of sampling over the numbers of negatives, some of them dashed."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained")
    left.axhline(0, color=INK, lw=0.8)
    for color, (name, row) in zip(COLORS, found.items(), strict=False):
        style = "--" if name in dashed else "-"
        estimates = [b.loss for b in row]
        left.errorbar(
            numbers, [e.value for e in estimates], yerr=_reach(estimates), color=color,
            ls=style, marker="o", ms=3.5, capsize=2, label=name,
        )  # fmt: skip
        errors = [100 * b.gradient for b in row]
        right.plot(numbers, errors, color=color, ls=style, marker="o", ms=3.5)
    noise = 100 * np.max([[b.noise for b in row] for row in found.values()], axis=0)
    right.fill_between(numbers, 0, noise, color=INK, alpha=0.25, lw=0)
    right.annotate("sampling noise", (numbers[1], noise[1]), color=INK, va="bottom", fontsize=9)
    left.set(xscale="log", xlabel="negatives m", ylabel="sampled loss − full loss, nats")
    right.set(
        xscale="log", xlabel="negatives m", ylim=(0, None),
        ylabel="error of the mean gradient,\n% of the full gradient's norm",
    )  # fmt: skip
    figure.legend(
        *left.get_legend_handles_labels(), fontsize=9, loc="outside upper center", ncols=4
    )
    return figure


def _reach(estimates: Sequence[Estimate]) -> Float[np.ndarray, "2 n"]:
    return np.array([[e.value - e.low, e.high - e.value] for e in estimates]).T


def hit_rates(rows: Mapping[str, Estimate], hollow: Sequence[str] = ()) -> Figure:
    """Draw the hit rate of each model with its interval, from top to bottom, some as rings."""
    figure, axis = plt.subplots(figsize=(8, 0.6 + 0.42 * len(rows)), layout="constrained")
    for place, (name, estimate) in enumerate(rows.items()):
        color = COLORS[1] if name in hollow else COLORS[0]
        value = 100 * estimate.value
        axis.errorbar(
            value, place, xerr=100 * _reach([estimate]), color=color, marker="o", ms=7, capsize=3,
            mfc="none" if name in hollow else color, mew=1.8,
        )  # fmt: skip
        axis.annotate(
            f"{value:.1f}", (100 * estimate.high, place), (8, 0), textcoords="offset points",
            color=color, va="center", fontsize=10,
        )  # fmt: skip
    axis.set_yticks(range(len(rows)), list(rows), fontsize=10)
    axis.invert_yaxis()
    axis.margins(y=0.12)
    most = 100 * max(estimate.high for estimate in rows.values())
    axis.set(xlabel="HitRate@50 on the last films, % (95 % interval)", xlim=(0, 1.15 * most))
    return figure


def clicked(view: ClickMap, names: Sequence[str], genre: str, clicks: int) -> Figure:
    """Draw a user's named interests before and after one or more clicks, and the angles."""
    before, after = view.after(genre, 0), view.after(genre, clicks)
    turns = match_interests(before.vectors, after.vectors)
    figure, (axis, bars) = plt.subplots(
        1, 2, figsize=(9.5, 4), layout="constrained", width_ratios=(1.5, 1)
    )
    items = view.model.item_vectors()
    axis.plot(*view.project(items[1:]).T, ".", ms=2, color=INK, alpha=0.3, mew=0)
    films = view.project(items[view.past])
    owners = before.coupling.argmax(0).numpy()
    axis.scatter(*films.T, s=26, c=[COLORS[k] for k in owners], lw=0)
    new = view.project(items[view.offered[genre][:clicks]])
    axis.plot(*new.T, "X", ms=9, color=COLORS[5], mec="none", label=f"clicked: {genre}")
    starts, ends = view.project(before.vectors), view.project(after.vectors)
    for turn in turns:
        color = COLORS[turn.after if turn.before is None else turn.before]
        if turn.before is not None:
            start, end = starts[turn.before], ends[turn.after]
            axis.plot(*start, "o", ms=15, mfc="none", mew=2, color=color)
            axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": color, "lw": 2})
        axis.plot(*ends[turn.after], "*", ms=11, color=color, mec="none")
    axis.plot([], [], "o", ms=9, mfc="none", mew=2, color=INK, label="interest before the clicks")
    axis.plot([], [], "*", ms=11, color=INK, mec="none", label="after them")
    axis.set(
        xticks=[],
        yticks=[],
        xlabel="films and interests in two principal directions of the user's films",
    )
    axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 1.13), ncols=3)
    known = sorted((t for t in turns if t.before is not None), key=lambda t: t.before or 0)
    places = range(len(known))
    colors = [COLORS[t.before or 0] for t in known]
    drawn = bars.barh(places, [t.degrees for t in known], 0.6, color=colors)
    bars.bar_label(drawn, fmt="%.0f°", padding=3, color=INK, fontsize=10)
    bars.set_yticks(places, [names[t.before or 0].replace(", ", ",\n") for t in known])
    for label, color in zip(bars.get_yticklabels(), colors, strict=True):
        label.set_color(color)
    bars.invert_yaxis()
    bars.set(
        xlabel="turned by the clicks, degrees",
        xlim=(0, max(20, 1.2 * max(t.degrees for t in known))),
    )
    return figure
