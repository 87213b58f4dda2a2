"""The figures of notebook 01: squash, routing round by round, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORMAP, COLORS, INK


def squash_picture(
    lengths: Float[np.ndarray, " n"],
    squashed: Float[np.ndarray, " n"],
    along: Float[np.ndarray, " n"],
    across: Float[np.ndarray, " n"],
    before: Float[np.ndarray, "arrows 2"],
    after: Float[np.ndarray, "arrows 2"],
) -> Figure:
    """What squash does to a vector: to its length, to its direction, and to a gradient.

    Args:
        lengths, squashed: length in and length out.
        along, across: the derivative of the output for a step along the vector, and across it.
        before, after: vectors of the plane and what becomes of them.
    """
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 2.7), layout="constrained")
    left.plot(lengths, squashed, label="squash")
    left.plot(lengths, np.minimum(lengths, 1), ls=":", color=INK, label="unchanged, cut off at 1")
    left.set(xlabel="length in", ylabel="length out", title="Length", ylim=(0, 1.05))
    left.legend(loc="lower right")
    arrows(middle, before, color=INK, width=0.008)
    arrows(middle, after, color=COLORS[0], width=0.014)
    circle = np.linspace(0, 2 * np.pi, 200)
    middle.plot(np.cos(circle), np.sin(circle), ls=":", lw=1, color=INK)
    middle.annotate("length 1", (-0.72, 0.72), color=INK, fontsize=8, ha="right", va="bottom")
    square(middle, before)
    middle.set_title("Direction: in (grey) and out (blue)")
    right.plot(lengths, along, label="along the vector")
    right.plot(lengths, across, label="across it")
    right.set(
        xlabel="length in", ylabel="derivative of the output", title="Gradient", ylim=(0, 0.8)
    )
    right.legend()
    return figure


def by_hand(
    votes: Float[np.ndarray, "low high 2"],
    coupling: Float[np.ndarray, "rounds low high"],
    capsules: Float[np.ndarray, "rounds high 2"],
) -> Figure:
    """Votes and capsules in the plane: a row for each high capsule, a column for each round.

    A vote's colour is its low capsule's, its width is its coupling; the pin is the high capsule.
    """
    rounds, low, high = coupling.shape
    figure, axes = plt.subplots(
        high, rounds, figsize=(2.6 * rounds, 2.5 * high), layout="constrained", squeeze=False
    )
    for j in range(high):
        for t in range(rounds):
            axis = axes[j, t]
            for i in range(low):
                weight = float(coupling[t, i, j])
                arrows(axis, votes[i : i + 1, j], color=COLORS[i], width=0.004 + 0.02 * weight)
                side = "bottom" if votes[i, j, 1] > 0 else "top"
                axis.annotate(
                    f"{weight:.3f}", tuple(votes[i, j]), color=COLORS[i], fontsize=8, ha="center",
                    va=side, xytext=(0, 3 if side == "bottom" else -3),
                    textcoords="offset points",
                )  # fmt: skip
            axis.plot([0, capsules[t, j, 0]], [0, capsules[t, j, 1]], "-o", color=INK, lw=4, ms=9,
                      markevery=[1], zorder=4)  # fmt: skip
            square(axis, votes.reshape(-1, 2), margin=0.6)
            length = np.linalg.norm(capsules[t, j])
            axis.set_title(f"round {t + 1}: $|u_{j + 1}|$ = {length:.2f}", fontsize=9)
        axes[j, 0].set_ylabel(f"high capsule {j + 1}")
    names = [Line2D([], [], color=COLORS[i], lw=3, label=f"low capsule {i + 1}")
             for i in range(low)]  # fmt: skip
    names.append(Line2D([], [], color=INK, lw=4, marker="o", label="the high capsule"))
    figure.legend(handles=names, loc="outside lower center", ncols=low + 1)
    return figure


def climbs(values: Mapping[str, Mapping[str, Float[np.ndarray, "rounds draws"]]]) -> Figure:
    """Objectives against the round: a panel for each objective, a line for each way of routing.

    Args:
        values: objective, then way of routing, then its value for each round and draw; the line
            is the median over draws, the band goes from the 10th to the 90th percentile.
    """
    figure, axes = plt.subplots(
        1, len(values), figsize=(4.6 * len(values), 3), layout="constrained", squeeze=False
    )
    for axis, (name, ways) in zip(axes[0], values.items(), strict=True):
        for color, (way, lines) in zip(COLORS, ways.items(), strict=False):
            band(axis, lines, color, way)
        axis.set(title=name, xlabel="round")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0][0].set_ylabel("median, middle 80 % of draws")
    axes[0][0].legend()
    return figure


def film(
    logits: Float[np.ndarray, "rounds low high"],
    coupling: Float[np.ndarray, "rounds low high"],
    entropy: Float[np.ndarray, "rounds low"],
    groups: Int[np.ndarray, " low"],
) -> Figure:
    """Logits and coupling as heat maps, a column for each round, and the entropy below them.

    Rows are high capsules and columns low ones, as in the paper's Fig. 5; a line parts the groups.

    Args:
        entropy: of each low capsule's coupling, as a share of the most that it can be.
    """
    rounds = len(logits)
    figure = plt.figure(figsize=(1.4 * rounds + 0.8, 4.2), layout="constrained")
    grid = figure.add_gridspec(3, rounds, height_ratios=(1, 1, 1.2))
    reach = float(np.abs(logits).max()) or 1.0
    for row, (values, low, top, name, colors) in enumerate(
        (
            (logits, -reach, reach, "logits $b_{ij}$", "PuOr"),
            (coupling, 0.0, 1.0, "coupling $w_{ij}$", COLORMAP),
        )
    ):
        panels = [figure.add_subplot(grid[row, t]) for t in range(rounds)]
        maps = [heat(axis, values[t], groups, low, top, colors) for t, axis in enumerate(panels)]
        for t, axis in enumerate(panels):
            axis.set(xticks=[], yticks=[])
            if row == 0:
                axis.set_title(f"round {t + 1}", fontsize=9)
        high = range(logits.shape[2])
        panels[0].set_yticks(high, [f"high {j + 1}" for j in high], fontsize=7)
        figure.colorbar(maps[0], ax=panels, label=name, pad=0.01)
    entropy_lines(figure.add_subplot(grid[2, :]), entropy, groups)
    return figure


def one_round(
    logits: Float[np.ndarray, "rounds low high"],
    coupling: Float[np.ndarray, "rounds low high"],
    entropy: Float[np.ndarray, "rounds low"],
    closeness: Float[np.ndarray, "rounds high groups"],
    groups: Int[np.ndarray, " low"],
    at: int,
) -> Figure:
    """One frame of the film, large: for the view with a slider.

    Args:
        closeness: the cosine of each high capsule with each planted group's centre.
        at: the round, from 1.
    """
    figure, axes = plt.subplots(2, 2, figsize=(8, 4.2), layout="constrained", width_ratios=(2, 1))
    reach = float(np.abs(logits).max()) or 1.0
    high = range(logits.shape[2])
    for axis, values, low, top, colors, name in (
        (axes[0, 0], logits[at - 1], -reach, reach, "PuOr", "logits $b_{ij}$"),
        (axes[1, 0], coupling[at - 1], 0.0, 1.0, COLORMAP, "coupling $w_{ij}$"),
    ):
        picture = heat(axis, values, groups, low, top, colors)
        axis.set_yticks(high, [f"high {j + 1}" for j in high])
        axis.set_xticks([])
        axis.set_title(f"{name} in round {at}")
        figure.colorbar(picture, ax=axis, pad=0.01)
    axes[1, 0].set_xlabel("low capsules, by planted group")
    entropy_lines(axes[0, 1], entropy, groups)
    axes[0, 1].axvline(at, color=INK, lw=1, ls=":")
    picture = axes[1, 1].imshow(closeness[at - 1], vmin=-1, vmax=1, cmap="PuOr", aspect="auto")
    axes[1, 1].set_xticks(range(closeness.shape[2]),
                          [f"group {g + 1}" for g in range(closeness.shape[2])])  # fmt: skip
    axes[1, 1].set_yticks(high, [f"high {j + 1}" for j in high])
    axes[1, 1].set_title("cosine with each group", fontsize=9)
    figure.colorbar(picture, ax=axes[1, 1], pad=0.01)
    return figure


def settling(
    changes: Mapping[str, Float[np.ndarray, "rounds draws"]],
    shares: Mapping[str, Float[np.ndarray, " shown"]],
    *,
    usual: int,
) -> Figure:
    """How far the coupling still moves in each round, and what is settled by then.

    Args:
        changes: for each kind of votes, the largest change of a weight from round t to t + 1.
        shares: for each criterion, the share of draws that meet it from round t on.
        usual: the number of rounds that is customary.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.9), layout="constrained")
    for color, (name, values) in zip(COLORS, changes.items(), strict=False):
        band(left, values, color, name)
    left.set(
        xlabel="from this round to the next", ylabel="largest change of a weight", ylim=(0, 1),
        title="Does the coupling still move?",
    )  # fmt: skip
    for color, (name, share) in zip(COLORS[3:], shares.items(), strict=False):
        right.plot(np.arange(1, len(share) + 1), share, "o-", ms=3, color=color, label=name)
    right.set(
        xlabel="by round", ylabel="share of draws", ylim=(-0.03, 1.03), title="What is settled?"
    )
    for axis in (left, right):
        axis.axvline(usual, color=INK, lw=1, ls=":", label=f"round {usual}")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(fontsize=8)
    return figure


def slow_cases(
    cases: Mapping[str, Float[np.ndarray, "rounds low"]],
    groups: Int[np.ndarray, " low"],
    *,
    usual: int,
) -> Figure:
    """The coupling with the first high capsule against the round, a line for each low capsule.

    Args:
        cases: the coupling, by name.
        groups: the planted group of each low capsule, which is its colour.
        usual: the number of rounds that is customary.
    """
    figure, axes = plt.subplots(
        1, len(cases), figsize=(2.2 * len(cases), 2.6), layout="constrained", sharey=True,
        squeeze=False,
    )  # fmt: skip
    for axis, (name, lines) in zip(axes[0], cases.items(), strict=True):
        for line, group in zip(lines.T, groups, strict=True):
            axis.plot(np.arange(1, len(lines) + 1), line, color=COLORS[int(group)])
        axis.axvline(usual, color=INK, lw=1, ls=":")
        axis.set(title=name, xlabel="round", ylim=(-0.03, 1.03))
        axis.title.set_fontsize(9)
    axes[0][0].set_ylabel("coupling $w_{i1}$")
    group_legend(axes[0][0], groups)
    return figure


def padding_effect(
    places: Sequence[int],
    lengths: Mapping[str, Sequence[float]],
    sums: Mapping[str, Sequence[float]],
) -> Figure:
    """What padding does to a capsule: its length, and the weight that reaches it.

    Args:
        places: the places of the padded history.
        lengths: for each softmax axis, the mean length of the capsules.
        sums: for each softmax axis, the weight on real low capsules, as a share of what it would be
            without padding.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.9), layout="constrained")
    looks = zip(COLORS, ("o-", "s-", "^--"), strict=False)
    for (color, look), name in zip(looks, lengths, strict=False):
        for axis, values in ((left, lengths), (right, sums)):
            axis.plot(places, values[name], look, color=color, label=name)
    for axis in (left, right):
        axis.set(xlabel="places, of which 5 are real", xticks=places, ylim=(0, 1.05))
    left.set_title("Mean length of a high capsule")
    right.set_title("Weight kept")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(lengths))
    return figure


def recovery(shares: Mapping[str, Mapping[str, Estimate]], *, chance: float) -> Figure:
    """The share of draws in which every planted group is found, with its interval.

    Args:
        shares: kind of votes, then softmax axis, then the estimated share.
        chance: the share if every capsule picked a group by lot.
    """
    figure, axis = plt.subplots(figsize=(7, 0.9 + 0.75 * len(shares)), layout="constrained")
    for row, ways in enumerate(shares.values()):
        for n, (way, found) in enumerate(ways.items()):
            place = row + 0.13 * (2 * n - 1)
            axis.hlines(place, found.low, found.high, color=COLORS[n], lw=2)
            axis.plot(
                found.value, place, "o", color=COLORS[n], ms=7, label=way if row == 0 else None
            )
    axis.axvline(chance, color=INK, lw=1, ls=":")
    axis.text(chance, -0.62, " by lot", fontsize=8, va="center")
    axis.set(
        yticks=range(len(shares)), yticklabels=list(shares), xlim=(-0.02, 1.02),
        ylim=(len(shares) - 0.5, -0.8), xlabel="share of draws in which every group is found",
    )  # fmt: skip
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def arrows(axis: Axes, ends: Float[np.ndarray, "n 2"], **options: Any) -> None:
    """Arrows from the origin to some points, in the axes' own units."""
    zeros = np.zeros(len(ends))
    axis.quiver(zeros, zeros, ends[:, 0], ends[:, 1], angles="xy", scale_units="xy", scale=1,
                **options)  # fmt: skip


def square(axis: Axes, points: Float[np.ndarray, "n 2"], margin: float = 0.2) -> None:
    """Equal units, room for all points, and nothing but two lines through the origin."""
    reach = float(np.abs(points).max()) + margin
    axis.axhline(0, color=INK, lw=0.5, alpha=0.5, zorder=0)
    axis.axvline(0, color=INK, lw=0.5, alpha=0.5, zorder=0)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)


def band(axis: Axes, values: Float[np.ndarray, "rounds draws"], color: str, label: str) -> None:
    """The median over draws as a line, the 10th to the 90th percentile as a band."""
    rounds = np.arange(1, len(values) + 1)
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=1)
    axis.fill_between(rounds, low, high, color=color, alpha=0.2, lw=0)
    axis.plot(rounds, middle, color=color, label=label)


def heat(
    axis: Axes,
    values: Float[np.ndarray, "low high"],
    groups: Int[np.ndarray, " low"],
    low: float,
    top: float,
    colors: str,
) -> AxesImage:
    """A heat map, rows high capsules, with a line between the groups of low ones."""
    picture = axis.imshow(
        values.T, vmin=low, vmax=top, cmap=colors, aspect="auto", interpolation="nearest"
    )
    for place in np.flatnonzero(np.diff(groups)):
        axis.axvline(place + 0.5, color=INK, lw=1.5)
    return picture


def entropy_lines(
    axis: Axes, entropy: Float[np.ndarray, "rounds low"], groups: Int[np.ndarray, " low"]
) -> None:
    """The entropy of each low capsule against the round, coloured by group."""
    for i, group in enumerate(groups):
        axis.plot(np.arange(1, len(entropy) + 1), entropy[:, i], "o-", ms=3, lw=1,
                  color=COLORS[int(group) % len(COLORS)])  # fmt: skip
    group_legend(axis, groups)
    axis.set(xlabel="round", ylabel="entropy (1 = even)", ylim=(-0.03, 1.05))
    axis.set_xticks(range(1, len(entropy) + 1))


def group_legend(axis: Axes, groups: Int[np.ndarray, " low"]) -> None:
    """Says which colour is which planted group of low capsules."""
    axis.legend(
        handles=[
            Line2D([], [], color=COLORS[int(g)], label=f"group {g + 1}") for g in np.unique(groups)
        ],
        loc="upper right",
        fontsize=7,
        handlelength=1,
    )
