"""The figures of notebook 03, label-aware attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mindlib.lessons.common.style import COLORMAP, COLORS, INK


def bend_and_scale(
    scores: Float[np.ndarray, " scores"],
    literal: Mapping[float, Float[np.ndarray, " scores"]],
    scaled: Mapping[float, Float[np.ndarray, " scores"]],
) -> Figure:
    """score^p beside p * score; where score^p is NaN the curve has a gap.

    Args:
        scores: the abscissa.
        literal, scaled: the curve of each p.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
    for axis, curves, title in zip(
        axes, (literal, scaled), ("printed: score$^p$ bends", "safe: $p$ · score scales"),
        strict=True,
    ):  # fmt: skip
        axis.axhline(0, color=INK, lw=0.6)
        axis.axvline(0, color=INK, lw=0.6)
        for color, (power, values) in zip(COLORS, curves.items(), strict=False):
            axis.plot(scores, values, color=color, lw=1.8, label=f"p = {power:g}")
        axis.set(xlabel="score $v_u^{k\\prime} e_i$", title=title, ylim=(-4, 4))
    axes[0].set_ylabel("what the softmax sees")
    axes[1].legend(loc="upper left")
    return figure


def float32_limits(
    magnitudes: Float[np.ndarray, " n"],
    logarithms: Float[np.ndarray, " n"],
    underflow: float,
    overflow: float,
    power: float,
) -> Figure:
    """|score|^p as float32 computes it: 0 below one limit, infinite above the other.

    Args:
        magnitudes: |score|.
        logarithms: log10 of |score|^p in float32; -inf where it is 0, inf where it overflows.
        underflow, overflow: the two limits.
    """
    figure, axis = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
    finite = np.isfinite(logarithms)
    axis.plot(magnitudes[finite], logarithms[finite], color=COLORS[0], lw=1.8)
    left, right = float(magnitudes[0]), float(magnitudes[-1])
    for low, high, color, word in (
        (left, underflow, COLORS[2], "0:\nties"),
        (overflow, right, COLORS[5], "infinite:\nNaN"),
    ):
        axis.axvspan(low, high, color=color, alpha=0.25, lw=0)
        axis.text((low + high) / 2, 0, word, color=color, ha="center", va="center")
    axis.annotate(f"{underflow:.3f}", (underflow, -45), color=COLORS[2], xytext=(4, 0),
                  textcoords="offset points", va="center")  # fmt: skip
    axis.annotate(f"{overflow:.3f}", (overflow, -45), color=COLORS[5], xytext=(-4, 0),
                  textcoords="offset points", ha="right", va="center")  # fmt: skip
    axis.set(
        xlabel="|score|", ylabel=f"log$_{{10}}$ of |score|$^{{{power:g}}}$", xlim=(left, right),
        ylim=(-52, 45),
    )  # fmt: skip
    return figure


def weight_sweep(
    powers: Float[np.ndarray, " powers"],
    panels: Mapping[str, Float[np.ndarray, "powers interests"]],
    scores: Float[np.ndarray, " interests"],
) -> Figure:
    """The weight of each interest as p grows; NaN leaves a gap.

    Args:
        panels: by title, the weights for each p.
        scores: the label's score with each interest, for the legend.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.2 * len(panels), 3), layout="constrained", sharey=True,
        squeeze=False,
    )  # fmt: skip
    for axis, (title, weights) in zip(axes[0], panels.items(), strict=True):
        gaps = bool(np.isnan(weights).any())
        for k, (color, score, line) in enumerate(zip(COLORS, scores, weights.T, strict=False)):
            # A point between two gaps needs a dot, and dots of equal height one beside the other.
            aside = 0.05 * (k - (len(scores) - 1) / 2) if gaps else 0.0
            axis.plot(powers + aside, line, ".-", color=color, lw=1.8, ms=9 if gaps else 0,
                      label=f"{score:+.2f}")  # fmt: skip
        axis.axhline(1 / weights.shape[1], color=INK, ls=":", lw=1)
        axis.set(xlabel="p", title=title, ylim=(-0.03, 1.03))
    axes[0][0].set_ylabel("weight of the interest")
    axes[0][0].legend(title="score", fontsize=8)
    return figure


def training_by_power(
    losses: Mapping[str, Sequence[Sequence[float]]],
    metrics: Mapping[str, Sequence[Sequence[float]]],
    metric: str,
    lines: Mapping[str, float],
    *,
    order: Sequence[str],
    title: str,
) -> Figure:
    """Loss and validation metric for each epoch: a line for the mean, a dot for each seed's last.

    Args:
        losses, metrics: for each name a row a seed.
        order: all names that there can be, so that each has the same colour in every figure.
        lines: floors and ceilings of the metric, by name.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
    for axis, curves, factor in ((left, losses, 1), (right, metrics, 100)):
        for place, (name, runs) in enumerate(curves.items()):
            values, color = factor * np.asarray(runs), COLORS[order.index(name)]
            epochs = np.arange(1, values.shape[1] + 1)
            axis.plot(epochs, values.mean(0), color=color, lw=1.6, label=name)
            last = np.full(len(values), epochs[-1] * (1.03 + 0.018 * place))
            axis.scatter(last, values[:, -1], color=color, s=12)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    for name, value in lines.items():
        right.axhline(100 * value, color=INK, ls=":", lw=1)
        right.annotate(name, (0, 100 * value), xycoords=("axes fraction", "data"), fontsize=8,
                       xytext=(3, 2), textcoords="offset points")  # fmt: skip
    left.set(ylabel="training loss", title=f"{title}: what training sees")
    right.set(ylabel=f"validation {metric}, percent", title=f"{title}: what serving gives")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(losses))
    return figure


def rank_shares(
    weights: Mapping[str, Float[np.ndarray, "seeds interests"]],
    gradients: Mapping[str, Float[np.ndarray, "seeds interests"]],
) -> Figure:
    """How much of the attention and of the gradient the best, the second, … interest receives.

    A dot for each seed; the dots of one rank stand in a group, one colour for each p.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=True)
    for axis, shares, title in zip(
        axes, (weights, gradients), ("attention", "gradient norm"), strict=True
    ):
        for place, (color, (name, seeds)) in enumerate(zip(COLORS, shares.items(), strict=False)):
            x = np.arange(1, seeds.shape[1] + 1) + 0.13 * (place - (len(shares) - 1) / 2)
            axis.scatter(np.tile(x, len(seeds)), seeds.flatten(), color=color, s=16, label=name)
        count = next(iter(shares.values())).shape[1]
        axis.axhline(1 / count, color=INK, ls=":", lw=1)
        axis.set(xlabel="rank of the interest for the label", title=f"Share of the {title}",
                 xticks=range(1, count + 1), ylim=(-0.03, 1.03))  # fmt: skip
    axes[1].legend()
    return figure


def starved_or_idle(panels: Mapping[str, Mapping[str, Int[np.ndarray, " users"]]]) -> Figure:
    """How many users have 0, 1, or more interests that are starved or idle.

    Args:
        panels: by title and p, the number of such interests of each user.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(3.1 * len(panels) + 0.6, 2.8), layout="constrained", sharey=True,
        squeeze=False,
    )  # fmt: skip
    colors = plt.get_cmap(COLORMAP)([0.15, 0.5, 0.85])
    for axis, (title, rows) in zip(axes[0], panels.items(), strict=True):
        for row, counts in enumerate(rows.values()):
            left = 0.0
            for number, color in enumerate(colors):
                width = float((counts.clip(max=2) == number).mean())
                axis.barh(row, width, left=left, height=0.7, color=color,
                          label=("0", "1", "2 or more")[number] if row == 0 else None)  # fmt: skip
                left += width
        axis.set(xlim=(0, 1), yticks=range(len(rows)), yticklabels=list(rows), title=title,
                 xlabel="share of the users")  # fmt: skip
    axes[0][0].invert_yaxis()
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center",
                  ncols=3, title="starved or idle interests of the user")  # fmt: skip
    return figure


def two_ways_to_score(
    attended: Mapping[str, Sequence[float]],
    served: Mapping[str, Sequence[float]],
    overtaken: Mapping[str, Sequence[float]],
    metric: str,
    lines: Mapping[str, float],
) -> Figure:
    """The same models judged by the attended vector and by the best interest, a point a seed.

    Args:
        overtaken: the share of the other items that pass the target because each chooses for
            itself.
        lines: floors and ceilings of the metric, by name.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.5, 3.2), layout="constrained", width_ratios=(1.5, 1)
    )
    for shift, values, color, marker, label in (
        (-0.12, attended, COLORS[1], "D", "by the attended vector (knows the label)"),
        (0.12, served, COLORS[0], "o", "by the best interest (serving)"),
    ):
        for row, points in enumerate(values.values()):
            left.scatter(np.multiply(100, points), [row + shift] * len(points), color=color,
                         marker=marker, s=26, zorder=3,
                         label=label if row == 0 else None)  # fmt: skip
    for name, value in lines.items():
        left.axvline(100 * value, color=INK, ls=":", lw=1)
        left.annotate(name, (100 * value, 1), xycoords=("data", "axes fraction"), fontsize=8,
                      ha="center", va="bottom", xytext=(0, 2),
                      textcoords="offset points")  # fmt: skip
    left.set(xlabel=f"test {metric}, percent", yticks=range(len(served)), yticklabels=list(served))
    left.set_ylim(len(served) - 0.5, -0.5)
    for row, points in enumerate(overtaken.values()):
        right.scatter(np.multiply(100, points), [row] * len(points), color=COLORS[5], s=26)
    right.set(xlabel="other items that overtake the target, percent", yticks=range(len(overtaken)),
              yticklabels=list(overtaken))  # fmt: skip
    right.set_ylim(len(overtaken) - 0.5, -0.5)
    right.set_xlim(left=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def attention_view(
    items: Float[np.ndarray, "items 2"],
    groups: Int[np.ndarray, " items"],
    interests: Float[np.ndarray, "interests 2"],
    families: Int[np.ndarray, " interests"],
    label: Float[np.ndarray, " 2"],
    attended: Float[np.ndarray, " 2"],
    scores: Float[np.ndarray, " interests"],
    weights: Float[np.ndarray, " interests"],
    title: str,
) -> Figure:
    """One user's interests and what attention makes of them: weights, and places in the plane.

    Args:
        items: all items in the plane.
        groups: which of the user's true clusters each item belongs to, from 0; -1 for none.
        interests, label, attended: where they lie in the same plane.
        families: the group that each interest is nearest to, or -1; it has the group's colour.
        scores, weights: of each interest, for the label.
    """
    figure, (bars, plane) = plt.subplots(
        1, 2, figsize=(8.6, 3.8), layout="constrained", width_ratios=(1, 1.5)
    )
    names = [f"{k + 1}: {score:+.2f}" for k, score in enumerate(scores)]
    colors = [COLORS[g] if g >= 0 else INK for g in families]
    bars.barh(range(len(weights)), weights, color=colors)
    for row, weight in enumerate(weights):
        bars.text(min(weight, 0.82) + 0.02, row, f"{weight:.2f}", va="center")
    bars.set(xlim=(0, 1), xlabel="weight", ylabel="interest: score", yticks=range(len(weights)),
             yticklabels=names, title=title)  # fmt: skip
    bars.invert_yaxis()
    plane.scatter(*items[groups < 0].T, s=5, color=INK, alpha=0.4, lw=0, label="other items")
    for group in range(int(groups.max()) + 1):
        plane.scatter(*items[groups == group].T, s=14, color=COLORS[group], lw=0,
                      label="her clusters" if group == 0 else None)  # fmt: skip
    for k, ((x, y), color) in enumerate(zip(interests, colors, strict=True)):
        plane.scatter(x, y, marker="*", s=190, color=color, edgecolor=INK, lw=0.8, zorder=4,
                      label="interests" if k == 0 else None)  # fmt: skip
        plane.annotate(str(k + 1), (x, y), xytext=(7, 5), textcoords="offset points", color=color)
    plane.scatter(*label, marker="s", s=70, facecolor="none", edgecolor=COLORS[5], lw=2,
                  zorder=5, label="label")  # fmt: skip
    plane.scatter(*attended, marker="X", s=110, color=COLORS[7], zorder=6, label="attended vector")
    plane.set(xticks=[], yticks=[])
    plane.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=5, fontsize=8,
                 handletextpad=0.2, columnspacing=0.8)  # fmt: skip
    return figure


def gallery(
    shares: Float[np.ndarray, "exhibits rules"], exhibits: Sequence[str], rules: Sequence[str]
) -> Figure:
    """Which variant breaks which rule, on what share of the draws."""
    figure, axis = plt.subplots(
        figsize=(1.25 * len(rules) + 2.2, 0.42 * len(exhibits) + 0.9), layout="constrained"
    )
    axis.imshow(shares, aspect="auto", cmap=COLORMAP, vmin=0, vmax=1)
    for row, values in enumerate(shares):
        for column, value in enumerate(values):
            axis.text(column, row, f"{100 * value:.0f} %" if value else "–", ha="center",
                      va="center", color="#ffffff" if value < 0.6 else "#222222")  # fmt: skip
    axis.set_xticks(range(len(rules)), rules)
    axis.set_yticks(range(len(exhibits)), exhibits)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure
