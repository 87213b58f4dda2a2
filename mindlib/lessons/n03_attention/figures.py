"""The figures of notebook 03, label-aware attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK


def shares_by_interest(
    shares: Float[np.ndarray, "rows interests"],
    rows: Sequence[str],
    interests: Sequence[str],
    label: str,
) -> Figure:
    """Draw how the interests of a user share something, such as attention; a bar for each row."""
    figure, axis = plt.subplots(figsize=(8.5, 0.45 * len(rows) + 1.4), layout="constrained")
    left = np.zeros(len(rows))
    for k, (share, name) in enumerate(zip(shares.T, interests, strict=True)):
        axis.barh(range(len(rows)), share, left=left, height=0.62, color=COLORS[k])
        left += share
        place = (k + 0.5) / len(interests)
        axis.text(place, 1.03, name, color=COLORS[k], size=10, weight="bold", ha="center",
                  transform=axis.transAxes)  # fmt: skip
    axis.set_yticks(range(len(rows)), rows, size=10)
    axis.set(xlim=(0, 1), xlabel=label)
    axis.invert_yaxis()
    return figure


def division(
    scales: Float[np.ndarray, " scales"], losses: Mapping[str, Float[np.ndarray, " scales"]]
) -> Figure:
    """Draw two vectors that divide four films, and losses against the norm of the vectors.

    Args:
        scales: the norms.
        losses: the loss at serving, then the loss in training, by the label of its curve.
    """
    figure, (plane, axis) = plt.subplots(
        1, 2, figsize=(8, 3), layout="constrained", width_ratios=(1, 2)
    )
    for k, (films, side) in enumerate((("A and B", (0, 12)), ("C and D", (12, -4)))):
        x, y = 1 - k, k
        arrow = {"arrowstyle": "-|>", "lw": 2.2, "color": COLORS[k], "shrinkA": 0}
        plane.annotate("", (1.7 * x, 1.7 * y), (0, 0), arrowprops=arrow)
        plane.scatter(x, y, color=COLORS[k], s=70, zorder=3)
        for text, place, offset in (
            (f"$s\\,v^{k + 1}$", (1.7 * x, 1.7 * y), (4, 2)), (f"films {films}", (x, y), side)
        ):  # fmt: skip
            plane.annotate(text, place, offset, textcoords="offset points", color=COLORS[k],
                           size=11, ha="center" if offset == (0, 12) else "left")  # fmt: skip
    plane.set(xlim=(-0.15, 2.1), ylim=(-0.15, 2.1), aspect="equal")
    plane.set_axis_off()
    at = 3 * len(scales) // 8
    for color, (name, values) in zip((COLORS[5], COLORS[6]), losses.items(), strict=True):
        axis.plot(scales, values, color=color, lw=2.5)
        axis.annotate(name, (scales[at], values[at]), (0, 8), textcoords="offset points",
                      color=color, size=11)  # fmt: skip
    ends = [values[-1] for values in losses.values()]
    axis.annotate("", (scales[-1], ends[0]), (scales[-1], ends[1]),
                  arrowprops={"arrowstyle": "<->", "color": INK})  # fmt: skip
    axis.annotate("log 2", (scales[-1], np.mean(ends)), (-6, 0), textcoords="offset points",
                  size=11, ha="right", va="center")  # fmt: skip
    axis.set_yticks(np.log((1, 2, 4)), ["0", "log 2 = 0.69", "log 4 = 1.39"], size=10)
    axis.set(xlabel="norm s of both vectors", ylabel="mean loss, nats", ylim=(0, 1.6))
    return figure


def two_scores(
    training: Float[np.ndarray, " films"],
    serving: Float[np.ndarray, " films"],
    label: int,
    titles: Sequence[str],
) -> Figure:
    """Draw each film's score in training against its score at serving, for one user and label.

    The four overtaking films with the highest scores have a title.

    Args:
        training: with the interest that the label selects.
        serving: with the film's own best interest.
        label: the row of the label.
        titles: of the films.
    """
    figure, axis = plt.subplots(figsize=(8, 4.8), layout="constrained")
    level = serving[label]
    overtakes: Bool[np.ndarray, " films"] = (training < level) & (serving > level)
    for chosen, color, size in ((~overtakes, INK, 6), (overtakes, COLORS[5], 26)):
        axis.scatter(training[chosen], serving[chosen], s=size, color=color, lw=0, alpha=0.8,
                     rasterized=True)  # fmt: skip
    axis.axvline(level, color=INK, ls=":", lw=1)
    axis.axhline(level, color=INK, ls=":", lw=1)
    axis.scatter(level, level, marker="*", s=240, color=COLORS[6], zorder=4)
    step = 0.075 * np.ptp(serving)
    for x, y, offset, side, color, text in (
        (level, level, (10, -8), "left", COLORS[6], f"label:\n{titles[label]}"),
        (level, serving.min(), (8, 110), "left", INK, "dotted:\nthe label's\nscore"),
        (level, serving.min(), (-8, 50), "right", INK,
         "on the diagonal: films whose\nbest interest is the label's"),
    ):  # fmt: skip
        axis.annotate(text, (x, y), offset, textcoords="offset points", color=color, size=10,
                      ha=side, va="top")  # fmt: skip
    best = np.argsort(np.where(overtakes, -serving, np.inf))[: min(4, overtakes.sum())]
    best = best[training[best].argsort()]  # so that no two lines cross
    right = training[overtakes].max(initial=training.min()) + 0.06 * np.ptp(training)
    top = serving.max() + 4 * step
    axis.text(right, top, f"{overtakes.sum()} films overtake the label at serving", size=11,
              color=COLORS[5], weight="bold", va="center")  # fmt: skip
    for place, film in enumerate(best, 1):
        line = {"arrowstyle": "-", "lw": 0.6, "color": COLORS[5], "relpos": (0, 0.5), "shrinkB": 3,
                "connectionstyle": "angle,angleA=0,angleB=90"}  # fmt: skip
        point, text = (training[film], serving[film]), (right, top - place * step)
        axis.annotate(titles[int(film)], point, text, color=COLORS[5], size=10, va="center",
                      arrowprops=line)  # fmt: skip
    axis.set(xlabel="score in training: with the label's interest",
             ylabel="score at serving: with the film's best interest")  # fmt: skip
    return figure


def served_and_oracle(rates: Mapping[str, tuple[Estimate, Estimate]], longer: Estimate) -> Figure:
    """Draw the HitRate@50 of each model at serving, and what 200 films would retrieve.

    Args:
        rates: at serving, and by the interest that ranks the target best; the first model has one
            interest.
        longer: the rate of the first model with one list of 200 films.
    """
    figure, axis = plt.subplots(figsize=(8, 0.72 * len(rates) + 0.8), layout="constrained")
    for row, (served, oracle) in enumerate(rates.values()):
        bound = oracle, "oracle, four lists of 50", "D"
        other = bound if row else (longer, "one list of 200", "s")
        for (estimate, name, marker), color, offset, side in (
            ((served, "served, 50 films", "o"), COLORS[5], (-14, -4), "right"),
            (other, INK, (0, 9), "center"),
        ):
            value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
            axis.plot([low, high], [row, row], color=color, lw=2.5)
            axis.scatter(value, row, s=50, color=color, marker=marker, zorder=3)
            axis.annotate(f"{name}: {value:.1f} %", (value, row), offset, color=color, size=10,
                          textcoords="offset points", ha=side)  # fmt: skip
    reference = 100 * next(iter(rates.values()))[0].value
    axis.axvline(reference, color=COLORS[5], ls=":", lw=1, zorder=0)
    axis.set_yticks(range(len(rates)), list(rates), size=10)
    axis.set(xlabel="test cases with the target in the list, %", xlim=(0, 78),
             ylim=(len(rates) - 0.6, -0.7))  # fmt: skip
    return figure
