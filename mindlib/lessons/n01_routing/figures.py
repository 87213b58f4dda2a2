"""The figures of notebook 01. In all arrays the interest comes before the behavior."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, Wedge
from torch import Tensor

from mindlib.lessons.common.style import COLORMAP, COLORS, INK
from mindlib.lessons.n01_routing.iterations import Iterations


def loop() -> Figure:
    """Draw one iteration as a cycle of tensors, with shapes and equation numbers."""
    figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
    axis.set(xlim=(0, 100), ylim=(0, 44))
    axis.set_axis_off()
    for x, y, text in (
        (14, 38, "weights $w$\n$(K, L)$"),
        (86, 38, "sums $z$\n$(K, d)$"),
        (86, 6, "capsules $u$ $(K, d)$\noutput after $r$ iterations"),
        (14, 6, "logits $b$ $(K, L)$\n0 at the start"),
        (50, 22, "votes $S_{ij}\\,c_i$ $(K, L, d)$\nfrom $S$ $(K, L, d, d)$, $c$ $(L, d)$"),
    ):
        width = 3 if text.startswith("logits") else 1.3
        box = {"boxstyle": "round,pad=0.5", "fc": "none", "ec": INK, "lw": width}
        axis.text(x, y, text, ha="center", va="center", size=11, bbox=box)
    steps = ((14, 11, 14, 33), (22, 38, 80, 38), (86, 33, 86, 11), (73, 6, 23.5, 6))
    for x, y, to_x, to_y in (*steps, (50, 27, 50, 37), (50, 17, 50, 7)):
        arrow = {"arrowstyle": "-|>", "color": INK if x == 50 else COLORS[0], "lw": 1.6}
        axis.annotate("", (to_x, to_y), (x, y), arrowprops=arrow)
    for x, y, side, text in (
        (16, 22, "left", "1. softmax\nover the interests,\nEq. 6"),
        (50, 41, "center", "2. weighted sum over the behaviors, Eq. 5"),
        (84, 22, "right", "3. squash,\nEq. 7"),
        (50, 3, "center", "4. agreement $u_j^T S_{ij}\\,c_i$, added to $b$, Eq. 4"),
    ):
        axis.text(x, y, text, color=COLORS[0], size=11, ha=side, va="center")
    return figure


def by_hand(
    votes: Float[np.ndarray, "high low 2"],
    weights: Float[np.ndarray, "iterations high low"],
    capsules: Float[np.ndarray, "iterations high 2"],
) -> Figure:
    """Draw votes and capsules in the plane: a row for each capsule, a column for each iteration.

    The color of a vote is that of its low-level capsule; its width and its number are the weight.
    """
    iterations, high, low = weights.shape
    reach = max(np.abs(votes).max(), np.abs(capsules).max()) + 0.6
    size = (2.6 * iterations, 2.5 * high)
    figure, axes = plt.subplots(high, iterations, figsize=size, layout="constrained", squeeze=False)
    for j in range(high):
        for t in range(iterations):
            axis = axes[j, t]
            for i, weight in enumerate(weights[t, j].tolist()):
                x, y = votes[j, i].tolist()
                arrow(axis, x, y, COLORS[3 + i], 0.009 + 0.016 * weight)
                x, y = x + 0.25 * np.sign(x), y + (0.25 if y > 0 else -0.25)
                axis.text(x, y, f"{weight:.3f}", color=COLORS[3 + i], ha="center", va="center")
            ends = np.stack([np.zeros(2), capsules[t, j]]).T
            axis.plot(*ends, "-o", color=INK, lw=4, ms=9, markevery=[1], zorder=4)
            axis.axhline(0, color=INK, lw=0.5, zorder=0)
            axis.axvline(0, color=INK, lw=0.5, zorder=0)
            axis.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
            axis.set_aspect("equal")
            axis.spines[:].set_visible(False)
            norm = np.linalg.norm(capsules[t, j])
            axis.set_title(f"iteration {t + 1}: $\\|u_{j + 1}\\|$ = {norm:.2f}")
        axes[j, 0].set_ylabel(f"high-level capsule {j + 1}")
    for i in range(low):
        axes[0, 0].plot([], color=COLORS[3 + i], lw=3, label=f"vote of low-level {i + 1}")
    axes[0, 0].plot([], "-o", color=INK, lw=4, label="high-level capsule")
    figure.legend(loc="outside lower center", ncols=low + 1)
    return figure


def iterations(
    seen: Iterations, titles: Sequence[str], interests: Sequence[str], shown: Sequence[int]
) -> Figure:
    """Draw the weights of the `shown` iterations, with each film's largest one framed.

    The frame is dashed if the largest weight of the last iteration is that of another interest.
    """
    size = (9, 0.95 * len(shown) + 1.6)
    figure, axes = plt.subplots(len(shown), 1, figsize=size, layout="constrained", sharex=True)
    for axis, t in zip(axes, shown, strict=True):
        w = seen.weights[t - 1].numpy()
        weight_matrix(axis, w, titles, interests)
        axis.set_ylabel(f"iteration {t}")
        for i in np.flatnonzero(np.ptp(w, axis=0) > 1e-6):
            k = w[:, i].argmax()
            dashes = "-" if k == seen.weights[-1, :, i].argmax() else (0, (1.5, 1))
            axis.add_patch(Rectangle((i - 0.45, k - 0.4), 0.9, 0.8, fill=False, lw=2.5, ls=dashes))
    return figure


def one_iteration(
    seen: Iterations,
    films: Float[Tensor, "behaviors 2"],
    titles: Sequence[str],
    interests: Sequence[str],
    t: int,
) -> Figure:
    """Draw iteration t: numbered films and capsules in the plane, and the weights of each film.

    The sector of a capsule holds the directions nearest to it. All iterations have one layout.
    """
    figure = plt.figure(figsize=(9, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 1))
    _, weights, capsules = (part[t - 1] for part in seen)
    for i, (x, y) in enumerate(films.tolist()):
        shares = weights[:, i].tolist()
        color = INK if max(shares) - min(shares) < 1e-6 else COLORS[shares.index(max(shares))]
        top.plot(x, y, "o", color=color, ms=7)
        top.text(x + 0.04, y, i + 1, color=color, va="center")
        for k, share in enumerate(shares):
            bottom.bar(i, share, 0.6, sum(shares[:k]), color=COLORS[k])
    angles = capsules[:, 1].atan2(capsules[:, 0]).rad2deg().numpy()
    order = angles.argsort()
    edges = [0, *(angles[order[1:]] + angles[order[:-1]]) / 2, 180]  # all lie above the origin
    for n, k in enumerate(order):
        top.add_artist(Wedge((0, 0), 9, *edges[n : n + 2], color=COLORS[k], alpha=0.15, lw=0))
        x, y = capsules[k].tolist()
        arrow(top, x, y, COLORS[k], 0.006)
        side = "right" if n == len(order) - 1 else "left"
        text = f" $u_{k + 1}$ {interests[k]} "
        top.text(x, y + 0.02, text, color=COLORS[k], weight="bold", ha=side, va="bottom")
    top.plot(0, 0, "o", color=INK)
    top.text(0, -0.04, "origin", ha="center", va="top")
    top.set(title=f"iteration {t}", xticks=[], yticks=[], ylim=(-0.15, 1.3), aspect="equal")
    top.margins(x=0.1)
    top.spines[:].set_visible(False)
    names = [f"{number} {title}" for number, title in enumerate(titles, start=1)]
    bottom.set_xticks(range(len(titles)), names, rotation=60, ha="right")
    bottom.set(ylabel="weights $w$", yticks=(0, 1), xlim=(-0.5, len(titles) - 0.5), ylim=(0, 1))
    return figure


def sums_of_weights(
    weights: dict[str, Float[np.ndarray, "interests behaviors"]],
    titles: Sequence[str],
    interests: Sequence[str],
) -> Figure:
    """Draw weight matrices with the sums of their rows and columns."""
    figure = plt.figure(figsize=(9, 1.7 * len(weights) + 1.4), layout="constrained")
    axes = figure.subplots(len(weights), 1, sharex=True, squeeze=False)
    for axis, (name, w) in zip(axes[:, 0], weights.items(), strict=True):
        weight_matrix(axis, w, titles, interests)
        sums = [(i, -0.8, total) for i, total in enumerate(w.sum(0))]
        sums += [(w.shape[1], k, total) for k, total in enumerate(w.sum(1))]
        for x, y, total in sums:
            weight = "bold" if np.isclose(total, 1, atol=1e-4) else "normal"
            axis.text(x, y, f"Σ {total:.2f}", ha="center", va="center", weight=weight)
        axis.set_title(f"{name}: all weights sum to {w.sum():.0f}", pad=20)
    return figure


def weight_matrix(
    axis: Axes,
    w: Float[np.ndarray, "interests behaviors"],
    titles: Sequence[str],
    interests: Sequence[str],
) -> None:
    """Draw the weights as a heat map, with their values in the cells."""
    axis.imshow(w, vmin=0, vmax=1, cmap=COLORMAP, aspect="auto")
    for (k, i), value in np.ndenumerate(w):
        color = "#222222" if value > 0.5 else "#ffffff"
        axis.text(i, k, f"{value:.2f}", color=color, ha="center", va="center")
    axis.set_yticks(range(len(interests)), interests)
    for k, label in enumerate(axis.get_yticklabels()):
        label.set_color(COLORS[k])
    axis.set_xticks(range(len(titles)), titles, rotation=90)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def arrow(axis: Axes, x: float, y: float, color: str, width: float) -> None:
    """Draw an arrow from the origin to (x, y), in the units of the axes."""
    axis.quiver(0, 0, x, y, color=color, width=width, angles="xy", scale_units="xy", scale=1)
