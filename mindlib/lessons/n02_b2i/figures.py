"""The figures of notebook 02, behavior-to-interest routing."""

from __future__ import annotations

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
    ends: Mapping[str, tuple[str, str]],
    healthy: tuple[float, float],
    examples: Mapping[str, Coupling],
) -> Figure:
    """Draw both kinds of collapse as two axes, and beside them the coupling at each path's end.

    Args:
        paths: for each of three names a path of (cosine, entropy).
        ends: the labels of the first and the last point, for each name.
        healthy: the point of interests that each hold one cluster.
        examples: by title, one user's coupling at the last point of each path.
    """
    figure = plt.figure(figsize=(9.5, 4.2), layout="constrained")
    grid = figure.add_gridspec(len(examples), 2, width_ratios=(2.4, 1))
    axis = figure.add_subplot(grid[:, 0])
    colors, letters = (COLORS[0], COLORS[1], COLORS[3]), "ABC"
    # For each path: the index of the point that bears its name, and offsets of the texts in points.
    named = (3, 4, -2)
    name_at = ((-6, 10, "right"), (8, 2, "left"), (9, -4, "left"))
    first_at = ((8, -3, "left"), (8, -5, "left"), (8, -4, "left"))
    last_at = ((2, -16, "left"), (8, -4, "left"), (6, -12, "left"))
    letter_at = ((3, 8, "center"), (-12, -4, "center"), (-10, -4, "center"))
    for k, (name, path) in enumerate(paths.items()):
        axis.plot(*np.array(path).T, "o-", color=colors[k], ms=4, lw=1.5)
        texts = [
            (name, path[min(named[k], len(path) - 1)], name_at[k], colors[k], 10),
            (ends[name][0], path[0], first_at[k], colors[k], 9),
            (ends[name][1], path[-1], last_at[k], colors[k], 9),
            (letters[k], path[-1], letter_at[k], INK, 10),
        ]
        for text, point, (dx, dy, side), color, size in texts:
            axis.annotate(
                text, point, (dx, dy), textcoords="offset points", ha=side, color=color,
                fontsize=size, weight="bold" if color == INK else "normal",
            )  # fmt: skip
    axis.plot(*healthy, "*", color=COLORS[2], ms=16, zorder=0)
    x, y = healthy
    axis.text(x - 0.06, y - 0.19, "one cluster\nper interest", color=COLORS[2], fontsize=10)
    for x, y, name in ((0.8, 1.05, "interest collapse"), (0.48, 0, "routing collapse")):
        axis.text(x, y, name, color=INK, ha="center", weight="bold", fontsize=10)
    axis.set(
        xlabel="mean cosine between a user's interests", ylabel="normalized entropy of the weights",
        xlim=(-0.1, 1.15), ylim=(-0.05, 1.12),
    )  # fmt: skip
    small = [figure.add_subplot(grid[row, 1]) for row in range(len(examples))]
    for letter, panel, (title, coupling) in zip(letters, small, examples.items(), strict=True):
        image = panel.imshow(
            coupling / coupling.sum(1, keepdims=True), aspect="auto", cmap=COLORMAP,
            vmin=0, vmax=0.4, interpolation="nearest",
        )  # fmt: skip
        clusters = len(coupling)  # of equal size
        for k in range(1, clusters):
            panel.axvline(k * coupling.shape[1] / clusters - 0.5, color="white", lw=1)
        panel.set_xticks([])
        panel.set_yticks(range(len(coupling)), [str(j + 1) for j in range(len(coupling))])
        panel.tick_params(length=0)
        panel.set_title(f"{letter}: {title}", fontsize=10)
    small[len(small) // 2].set_ylabel("interest $j$")
    small[-1].set_xlabel("behavior $i$, by cluster")
    bar = figure.colorbar(image, ax=small, extend="max", ticks=(0, 0.2, 0.4))  # pyright: ignore[reportPossiblyUnboundVariable]
    bar.set_label("share of the interest's weight")
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
