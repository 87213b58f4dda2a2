"""The figures of notebook 04."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mindlib.evaluation import Estimate
from mindlib.lessons.common.style import COLORS, INK
from mindlib.lessons.n04_training.clicks import Viewer, match_interests
from mindlib.lessons.n04_training.sampled import Bias


def bias_by_number(
    numbers: Sequence[int], found: Mapping[str, Sequence[Bias]], num_items: int
) -> Figure:
    """Draw the bias of each "sampler, correction" over the numbers of negatives."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained")
    left.axhline(0, color=INK, lw=0.8)
    samplers = list(dict.fromkeys(name.partition(", ")[0] for name in found))
    for name, row in found.items():
        sampler, _, correction = name.partition(", ")
        index = samplers.index(sampler)
        style = {
            "color": (COLORS[0], COLORS[2])[index], "marker": "os"[index], "ms": 4,
            "ls": "--" if correction.startswith("no") else "-",
        }  # fmt: skip
        estimates = [b.loss for b in row]
        left.errorbar(
            numbers, [e.value for e in estimates], yerr=_reach(estimates), label=name, **style
        )
        right.plot(numbers, [100 * b.gradient for b in row], **style)
    noise = 100 * np.max([[b.noise for b in row] for row in found.values()], axis=0)
    right.fill_between(numbers, 0, noise, color=INK, alpha=0.25, lw=0)
    right.annotate(
        "noise of an unbiased estimate", (numbers[0], noise[0]), color=INK, va="bottom", fontsize=9
    )
    left.set(xscale="log", xlabel="negatives m", ylabel="sampled loss − full loss, nats")
    right.set(
        xscale="log", xlabel="negatives m", ylim=(0, None),
        ylabel="error of the mean gradient,\n% of the full gradient's norm",
    )  # fmt: skip
    for axis, y, va in ((left, 0.01, "bottom"), (right, 0.62, "center")):
        axis.axvline(num_items, color=INK, lw=0.8, ls=":")
        axis.annotate(
            "m = number of items", (num_items, y), (-4, 0), xycoords=("data", "axes fraction"),
            textcoords="offset points", color=INK, ha="right", va=va, fontsize=9,
        )  # fmt: skip
    figure.legend(
        *left.get_legend_handles_labels(), fontsize=9, loc="outside upper center", ncols=4
    )
    return figure


def _reach(estimates: Sequence[Estimate]) -> Float[np.ndarray, "2 n"]:
    return np.array([[e.value - e.low, e.high - e.value] for e in estimates]).T


def hit_rates(rows: Mapping[str, Estimate]) -> Figure:
    """Draw the hit rates with their intervals; "loss, program" names a dot in the row of a loss."""
    labels = list(dict.fromkeys(name.partition(", ")[0] for name in rows))
    figure, axis = plt.subplots(figsize=(8, 0.6 + 0.6 * len(labels)), layout="constrained")
    for name, estimate in rows.items():
        label, _, program = name.partition(", ")
        is_ring = program.startswith("mindlib")
        color = COLORS[1] if is_ring else COLORS[0]
        place = labels.index(label) + (0.2 if is_ring else -0.2 if program else 0)
        value = 100 * estimate.value
        axis.errorbar(
            value, place, xerr=100 * _reach([estimate]), color=color, marker="o", ms=7, capsize=3,
            mfc="none" if is_ring else color, mew=1.8,
        )  # fmt: skip
        axis.annotate(
            f"{value:.1f}  {program}", (100 * estimate.high, place), (8, 0),
            textcoords="offset points", color=color, va="center", fontsize=10,
        )  # fmt: skip
    axis.set_yticks(range(len(labels)), labels, fontsize=10)
    axis.invert_yaxis()
    axis.margins(y=0.12)
    low = 100 * min(estimate.low for estimate in rows.values())
    high = 100 * max(estimate.high for estimate in rows.values())
    axis.set(
        xlabel="HitRate@50 on the last films, % (95 % interval)", xlim=(min(15, low), high + 4)
    )
    return figure


def rotations(viewer: Viewer, names: Sequence[str], titles: Sequence[str], genre: str) -> Figure:
    """Draw the angle by which one click, and two, rotate each of a user's named interests."""
    before, once, twice = (viewer.after(genre, clicks).vectors for clicks in range(3))
    first, second = (
        {turn.before: turn.degrees for turn in match_interests(before, after)}
        for after in (once, twice)
    )
    figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
    places = np.arange(len(before))
    colors = COLORS[: len(before)]
    for shift, degrees, face, words in (
        (-0.2, first, "none", "after one click"),
        (0.2, second, colors, "after two clicks"),
    ):
        angles = [degrees[k] for k in range(len(before))]
        drawn = axis.barh(places + shift, angles, 0.34, color=face, edgecolor=colors, lw=1.5)
        texts = [f"{angle:.0f}°" for angle in angles]
        texts[0] += f"  {words}"
        axis.bar_label(drawn, texts, padding=4, color=INK, fontsize=10)
    axis.set_yticks(places, names, fontsize=10)
    for label, color in zip(axis.get_yticklabels(), colors, strict=True):
        label.set_color(color)
    axis.invert_yaxis()
    most = max(20.0, 1.3 * max(second.values()))
    axis.set(xlabel="rotation of the interest vector (after the head), degrees", xlim=(0, most))
    axis.set_xticks(np.arange(0, most, 5))
    clicked = ",\nthen ".join(titles[film] for film in viewer.offered[genre][:2])
    axis.set_title(f"{genre} films clicked: {clicked}", loc="left", fontsize=11)
    return figure
