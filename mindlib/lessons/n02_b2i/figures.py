"""The figures of notebook 02, behavior-to-interest routing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mindlib.lessons.common.style import COLORMAP, COLORS, INK

Vectors = Float[np.ndarray, "_ dim"]
Coupling = Float[np.ndarray, "interests behaviors"]


def rounds_in_the_plane(
    behaviors: Vectors,
    rows: Mapping[str, Sequence[tuple[Vectors, Coupling]]],
    iterations: Sequence[int],
) -> Figure:
    """Draw behaviors and interests in the plane after some iterations, a row for each case.

    Args:
        behaviors: the mapped embeddings S e_i.
        rows: the interests and the coupling after each number of iterations, by the row's name.
        iterations: the numbers of iterations.
    """
    figure, axes = plt.subplots(
        len(rows), len(iterations), figsize=(2.0 * len(iterations), 1.35 * len(rows)),
        layout="constrained", squeeze=False, sharex=True, sharey=True,
    )  # fmt: skip
    for axis, r in zip(axes[0], iterations, strict=True):
        axis.set_title(f"r = {r}", fontsize=11)
    for line, (name, results) in zip(axes, rows.items(), strict=True):
        for axis, (interests, coupling) in zip(line, results, strict=True):
            _draw_plane(axis, behaviors, interests, coupling)
        line[0].set_ylabel(name, fontsize=11)
    return figure


def films_and_interests(
    titles: Sequence[str], genres: Sequence[str], coupling: Coupling, names: Sequence[str]
) -> Figure:
    """Draw the coupling of films to interests as bars, a row for each film.

    The films are in the order of their heaviest interest, and their titles in its color.

    Args:
        titles: a title for each film.
        genres: the genres of each film.
        coupling: the weight of each film in each interest.
        names: the label of each interest.
    """
    order: list[int] = np.lexsort((-coupling.max(0), coupling.argmax(0))).tolist()
    weights, rows = coupling[:, order], np.arange(len(order))
    figure, axis = plt.subplots(figsize=(9.5, 0.19 * len(order) + 1), layout="constrained")
    for k, (w, name) in enumerate(zip(weights, names, strict=True)):
        axis.barh(rows, 0.8 * w, left=k, height=0.75, color=COLORS[k])
        axis.axvline(k, color=INK, lw=0.8)
        axis.text(k, -0.9, f"{k + 1}: {name}".replace(", ", ",\n"), color=COLORS[k], weight="bold")
    axis.set_yticks(rows, [titles[i] for i in order])
    for label, k in zip(axis.get_yticklabels(), weights.argmax(0), strict=True):
        label.set_color(COLORS[k])
    for row, i in enumerate(order):
        axis.text(len(names), row, genres[i], va="center")
    ticks = [(k + 0.8 * w, f"{w:g}") for k in range(len(names)) for w in (0, 0.5, 1)]
    axis.set_xticks(*zip(*ticks, strict=True), fontsize=8)
    axis.set(xlim=(0, len(names)), ylim=(len(rows) - 0.5, -0.7), xlabel="weight $w_{ij}$")
    axis.tick_params(length=0)
    axis.spines["left"].set_visible(False)
    return figure


def collapse_map(
    paths: Mapping[str, Sequence[tuple[float, float]]],
    labels: Mapping[str, Sequence[str]],
    healthy: tuple[float, float],
    examples: Mapping[str, tuple[tuple[float, float], Coupling]],
) -> Figure:
    """Draw both kinds of collapse as two axes, and the coupling of some cases beside them.

    Args:
        paths: for each name a path of (cosine, entropy).
        labels: the label of each point, for each name.
        healthy: the point of interests that each hold one cluster.
        examples: by name, a point of a path, which gets a letter, and one user's coupling there.
    """
    figure = plt.figure(figsize=(9.5, 4.4), layout="constrained")
    grid = figure.add_gridspec(len(examples), 2, width_ratios=(2.6, 1))
    axis = figure.add_subplot(grid[:, 0])
    colors = (COLORS[0], COLORS[1], COLORS[3])
    places = {0: ((-3, 6), "right"), 1: ((-7, -4), "right"), 2: ((7, -3), "left")}
    # Where the paths meet, the labels go to other sides of their points.
    places |= {(0, "norm 0.05"): ((6, -4), "left"), (1, "norm 0.05"): ((7, -4), "left")}
    places |= {(2, "σ = 1"): ((-3, 6), "right"), (2, "σ = 2"): ((-7, 2), "right")}
    for number, (color, (name, path)) in enumerate(zip(colors, paths.items(), strict=True)):
        axis.plot(*np.array(path).T, "o-", color=color, ms=5, lw=1.5)
        for point, label in zip(path, labels[name], strict=True):
            offset, side = places.get((number, label), places[number])
            axis.annotate(
                label, point, fontsize=8, color=color, textcoords="offset points", xytext=offset,
                ha=side,
            )  # fmt: skip
        for start, end in itertools.pairwise(path):
            tip = {"arrowstyle": "-|>", "color": color, "lw": 0, "mutation_scale": 14, "shrinkB": 2}
            axis.annotate("", end, start, arrowprops=tip)
        x, y = path[(len(path) // 2, -2, -1)[number]]
        dx, dy, side = ((-0.04, 0.09, "right"), (0.03, 0, "left"), (0, -0.07, "left"))[number]
        axis.text(x + dx, y + dy, name, color=color, ha=side, fontsize=10)
    axis.plot(*healthy, "*", color=COLORS[2], ms=16, zorder=0)
    x, y = healthy
    axis.text(x - 0.06, y - 0.16, "one cluster\nper interest", color=COLORS[2])
    for x, y, name in ((0.8, 1.05, "interest collapse"), (0.48, 0, "routing collapse")):
        axis.text(x, y, name, color=INK, ha="center", weight="bold", fontsize=10)
    axis.set(
        xlabel="mean cosine between a user's interests", ylabel="normalized entropy of the weights",
        xlim=(-0.1, 1.1), ylim=(-0.05, 1.12),
    )  # fmt: skip
    small = [figure.add_subplot(grid[row, 1]) for row in range(len(examples))]
    beside = (("A", (0, 7)), ("B", (0, -14)), ("C", (10, -4)), ("D", (-10, -4)))
    for panel, (letter, at), name in zip(small, beside, examples, strict=False):
        point, coupling = examples[name]
        axis.annotate(letter, point, at, textcoords="offset points", weight="bold", ha="center")
        image = panel.imshow(
            coupling / coupling.sum(1, keepdims=True), aspect="auto", cmap=COLORMAP,
            vmin=0, vmax=0.4, interpolation="nearest",
        )  # fmt: skip
        clusters = len(coupling)  # of equal size
        for k in range(1, clusters):
            panel.axvline(k * coupling.shape[1] / clusters - 0.5, color="white", lw=1)
        panel.set_xticks([])
        panel.set_yticks(range(len(coupling)), [str(j + 1) for j in range(len(coupling))])
        panel.set_title(f"{letter}: {name}", fontsize=9)
        panel.set_ylabel("interest $j$")
    small[-1].set_xlabel("behavior $i$, by cluster")
    figure.colorbar(image, ax=small, label="share of the interest's weight", extend="max")  # pyright: ignore[reportPossiblyUnboundVariable]
    return figure


def _draw_plane(axis: Axes, behaviors: Vectors, interests: Vectors, coupling: Coupling) -> None:
    """Draw behaviors, in the mixed color of their interests, and interests as arrows."""
    palette = np.array([to_rgb(color) for color in COLORS[: len(interests)]])
    norm = np.linalg.norm(behaviors, axis=1).max()
    axis.scatter(*behaviors.T, c=(coupling.T @ palette).clip(0, 1), s=34, zorder=3)
    for k, u in enumerate(interests):
        width = 1.5 + 6 * (len(interests) - 1 - k) / len(interests)  # equal arrows stay visible
        tip = {"arrowstyle": "-|>", "lw": width, "color": COLORS[k], "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", 0.85 * norm * u, (0, 0), arrowprops=tip, zorder=2)
    axis.plot(0, 0, "o", color=INK, ms=4)
    axis.set(xlim=(-1.15 * norm, 1.15 * norm), ylim=(-0.2 * norm, 1.15 * norm), aspect="equal")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
