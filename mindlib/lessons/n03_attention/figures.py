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
    """Draw two vectors that divide four films, and losses against the length of the vectors."""
    figure, (plane, axis) = plt.subplots(
        1, 2, figsize=(8.5, 3.1), layout="constrained", width_ratios=(1, 1.9)
    )
    places = (((1, 0.08), "A, B", (1.02, 0.2)), ((0.08, 1), "C, D", (0.24, 1.02)))
    for k, ((x, y), films, text) in enumerate(places):
        end = (1.7, 0) if k == 0 else (0, 1.7)
        plane.annotate(
            "", end, (0, 0), arrowprops={"arrowstyle": "-|>", "lw": 2.2, "color": COLORS[k]}
        )
        plane.text(end[0] + 0.05, end[1] + 0.05, f"$s\\,v^{k + 1}$", color=COLORS[k], size=12)
        across = np.array([[0, 0.14], [0.14, 0]])[k] * 0.9
        plane.scatter([x, x + across[1]], [y, y + across[0]], color=COLORS[k], s=45, zorder=3)
        plane.text(*text, f"films {films}", color=COLORS[k], size=10)
    plane.set(xlim=(-0.1, 2.05), ylim=(-0.1, 2.05), aspect="equal", xticks=[], yticks=[])
    for color, (name, values), place in zip(
        (COLORS[5], COLORS[6]), losses.items(), (len(scales) // 2, len(scales) // 4), strict=True
    ):
        axis.plot(scales, values, color=color, lw=2.2)
        axis.annotate(name, (scales[place], values[place]), (8, 6), textcoords="offset points",
                      color=color, size=10)  # fmt: skip
    for films in (2, 4):
        axis.axhline(np.log(films), color=INK, ls=":", lw=1, zorder=0)
        axis.text(scales[0], np.log(films), f"log {films}", color=INK, size=10, va="bottom")
    axis.set(xlabel="length s of both vectors", ylabel="loss, nats", ylim=(0.55, 1.6))
    return figure


def two_scores(
    training: Float[np.ndarray, " films"],
    serving: Float[np.ndarray, " films"],
    label: int,
    titles: Sequence[str],
    named: int = 4,
) -> Figure:
    """Draw each film's score in training against its score in serving, for one user and label.

    Args:
        training: with the interest that the label selects.
        serving: with the film's own best interest.
        label: the row of the label.
        titles: of the films.
        named: the number of overtaking films with a title, those with the highest scores.
    """
    figure, axis = plt.subplots(figsize=(8, 4.6), layout="constrained")
    level = serving[label]
    overtakes: Bool[np.ndarray, " films"] = (training < level) & (serving > level)
    for chosen, color, size in ((~overtakes, INK, 6), (overtakes, COLORS[5], 18)):
        axis.scatter(training[chosen], serving[chosen], s=size, color=color, lw=0, alpha=0.7,
                     rasterized=True)  # fmt: skip
    axis.axvline(level, color=INK, ls=":", lw=1)
    axis.axhline(level, color=INK, ls=":", lw=1)
    axis.scatter(level, level, marker="*", s=240, color=COLORS[0], zorder=4)
    axis.annotate(titles[label], (level, level), (10, -14), textcoords="offset points",
                  color=COLORS[0], size=10, weight="bold")  # fmt: skip
    best = np.argsort(np.where(overtakes, -serving, np.inf))[: min(named, overtakes.sum())]
    right = training[overtakes].max(initial=training.min()) + 0.06 * np.ptp(training)
    step = 0.075 * np.ptp(serving)
    top = serving.max() + (named - 0.5) * step
    axis.text(right, top, f"{overtakes.sum()} films overtake the label", size=11, color=COLORS[5],
              weight="bold", va="center")  # fmt: skip
    for place, film in enumerate(best, 1):
        line = {"arrowstyle": "-", "lw": 0.6, "color": COLORS[5], "relpos": (0, 0.5)}
        point, text = (training[film], serving[film]), (right, top - place * step)
        axis.annotate(titles[int(film)], point, text, color=COLORS[5], size=10, va="center",
                      arrowprops=line)  # fmt: skip
    axis.set(xlabel="score in training: with the label's interest",
             ylabel="score in serving: with the film's best interest")  # fmt: skip
    return figure


def served_and_oracle(rates: Mapping[str, tuple[Estimate, Estimate]], metric: str) -> Figure:
    """Draw the hit rate of each model as served, and by the interest that ranks the target best."""
    figure, axis = plt.subplots(figsize=(8.5, 0.62 * len(rates) + 1.1), layout="constrained")
    for row, pair in enumerate(rates.values()):
        axis.plot([100 * e.value for e in pair], [row, row], color=INK, lw=1, ls=":")
        for place, (estimate, color, marker) in enumerate(
            zip(pair, (COLORS[0], COLORS[1]), "oD", strict=True)
        ):
            low, high = 100 * estimate.low, 100 * estimate.high
            axis.plot([low, high], [row, row], color=color, lw=2.5)
            axis.scatter(100 * estimate.value, row, color=color, marker=marker, s=60 - 30 * place,
                         zorder=3 + place)  # fmt: skip
            if row == len(rates) - 1:
                name = ("served: best interest of each film", "oracle interest")[place]
                axis.annotate(name, (100 * estimate.value, row), (0, 10), ha="center", color=color,
                              textcoords="offset points", size=10)  # fmt: skip
    axis.set_yticks(range(len(rates)), list(rates), size=10)
    axis.set(xlabel=f"{metric}, percent of the test cases", ylim=(len(rates) - 0.5, -0.6))
    return figure
