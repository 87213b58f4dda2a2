"""The map of the items: UMAP, its quality, and the picture (§4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from mindlib.data import Interactions
from mindlib.lessons.common.films import genre_matrix
from mindlib.lessons.common.style import COLORS, INK

# Interests have the first colors of COLORS, genres the others and some more of the same lightness.
GENRE_COLORS = (*COLORS[4:], "#9a6a4f", "#c8609f", "#6d82b0", "#5f9440")
LABEL, ON_LABEL = "#e8e8e8", "#222222"  # legible on light and dark pages, above points of any color
MAP_COLORS = tuple(GENRE_COLORS[n] for n in (0, 5, 2, 1, 4, 6))  # no two of them similar
NEIGHBORS, MIN_DIST, METRIC = 30, 0.4, "cosine"


def project(vectors: Float[np.ndarray, "n dim"], seed: int) -> Float[np.ndarray, "n 2"]:
    """Place vectors in the plane by UMAP, deterministically for a seed."""
    import umap  # compiles for seconds

    mapping = umap.UMAP(NEIGHBORS, metric=METRIC, min_dist=MIN_DIST, random_state=seed, n_jobs=1)
    return np.asarray(mapping.fit_transform(vectors), dtype=np.float64)


def trust(vectors: Float[np.ndarray, "n dim"], points: Float[np.ndarray, "n 2"]) -> float:
    """Compute the trustworthiness: 1 if neighbors on the map are neighbors in the space."""
    return float(trustworthiness(vectors, points, n_neighbors=NEIGHBORS, metric=METRIC))


def purity(
    points: Float[np.ndarray, "n dim"],
    groups: Int[np.ndarray, " n"],
    metric: str = METRIC,
    neighbors: int = 10,
) -> Float[np.ndarray, " n"]:
    """Compute for each point the share of its nearest neighbors that are in its group."""
    search = NearestNeighbors(n_neighbors=neighbors, metric=metric).fit(points)
    nearest = search.kneighbors(return_distance=False)  # a point is not its own neighbor
    return (groups[nearest] == groups[:, None]).mean(1)


def primary_genres(
    log: Interactions, field: str = "genre"
) -> tuple[Int[np.ndarray, " items_plus_one"], tuple[str, ...]]:
    """Return the code of each item's rarest genre, and the genre of each code; 0 is unknown."""
    has, names = genre_matrix(log, field)
    counts = np.where(has, has.sum(0), len(has) + 1)
    return np.where(has.any(1), counts.argmin(1) + 1, 0), ("unknown", *names)


@dataclass(frozen=True)
class ItemMap:
    """Items in the plane, and one user's interests among them.

    Attributes:
        points, genres: the place of each item and the name of its genre.
        named: the genres that have a color.
        stars, words: the place of each interest, and words that describe it.
        interest: for each item of the user's history the interest with most of it; -1 for others.
    """

    points: Float[np.ndarray, "items 2"]
    genres: Sequence[str]
    named: Sequence[str]
    stars: Float[np.ndarray, "interests 2"]
    words: Sequence[str]
    interest: Int[np.ndarray, " items"]

    def nearest_stars(self) -> dict[str, tuple[float, float]]:
        """Return the limits of a square around the two stars that are nearest to each other."""
        gaps = np.linalg.norm(self.stars[:, None] - self.stars, axis=2)
        np.fill_diagonal(gaps, np.inf)
        pair = self.stars[[*np.unravel_index(gaps.argmin(), gaps.shape)]]
        half = max(
            1.2 * np.linalg.norm(pair[0] - pair[1]), 0.05 * np.ptp(self.points, axis=0).max()
        )
        low, high = pair.mean(0) - half, pair.mean(0) + half
        return {"xlim": (low[0], high[0]), "ylim": (low[1], high[1])}


def draw_items(
    axis: Axes, points: np.ndarray, names: np.ndarray, colors: Mapping, size: int = 12
) -> None:
    """Draw a point for each item, in the color of its genre's name if that has one."""
    for name, color in colors.items():
        axis.scatter(*points[names == name].T, s=size, color=color, alpha=0.6, lw=0, label=name)
    style: dict = {"color": INK, "alpha": 0.3, "lw": 0, "zorder": 0, "label": "other genres"}
    axis.scatter(*points[~np.isin(names, [*colors])].T, s=0.6 * size, **style)
    axis.set(xticks=[], yticks=[], frame_on=False)


def map_figure(view: ItemMap, title: str = "") -> Figure:
    """Draw the map with the user's items and interests, and the two nearest stars enlarged."""
    figure = plt.figure(figsize=(10, 6.4), layout="constrained")
    panels: dict = {"width_ratios": (7, 3), "height_ratios": (6, 7)}
    axes = figure.subplot_mosaic([["whole", "."], ["whole", "near"]], **panels)
    whole, near = axes["whole"], axes["near"]
    whole.set_title(title, fontsize=11)
    near.set_xlabel("the box, enlarged", fontsize=11)
    shades = dict(zip(view.named, MAP_COLORS, strict=False))
    style: dict = {"ha": "center", "va": "center", "color": ON_LABEL, "clip_on": True}
    for axis in axes.values():
        size = 30 if axis is near else 12
        draw_items(axis, view.points, np.array(view.genres), shades, size)
        for k, star in enumerate(view.stars):
            for place in view.points[view.interest == k]:
                axis.plot(*np.array([place, star]).T, color=INK, lw=0.8, zorder=4)
                axis.scatter(*place, s=80, color=LABEL, edgecolor=ON_LABEL, lw=1, zorder=5)
                axis.text(*place, f"{k + 1}", size=8, zorder=5, **style)
        for k, star in enumerate(view.stars):
            axis.scatter(*star, marker="*", s=700, color=ON_LABEL, edgecolor=LABEL, zorder=6)
            axis.text(*star, f"{k + 1}", size=9, zorder=7, weight="bold", **style | {"color": "w"})
    near.set(frame_on=True, **view.nearest_stars())
    near.spines[:].set_visible(True)
    (x, right), (y, top) = near.get_xlim(), near.get_ylim()
    whole.add_patch(Rectangle((x, y), right - x, top - y, fill=False, color=INK))
    marks = [("*", 15, ON_LABEL, 1, f"{k + 1} {words}") for k, words in enumerate(view.words)]
    marks += [("o", 9, LABEL, 1, "the user's films"), ("", 0, INK, 1, " ")]
    marks += [("o", 7, color, 0.6, name) for name, color in shades.items()]
    marks += [("o", 6, INK, 0.3, "other genres")]
    for marker, size, color, alpha, label in marks:
        look = {"ls": "", "marker": marker, "ms": size, "color": color, "alpha": alpha}
        near.plot([], [], mec=INK, mew=0.5 * (size > 8), label=label, **look)
    handles, labels = near.get_legend_handles_labels()
    shown = len(marks)
    figure.legend(handles[-shown:], labels[-shown:], loc="upper right", fontsize=10.5)
    return figure


def small_maps(
    maps: Mapping[str, np.ndarray], genres: Sequence[str], named: Sequence[str]
) -> Figure:
    """Draw several maps of the same items side by side, by the caption below each."""
    figure = plt.figure(figsize=(3.4 * len(maps), 3.7), layout="constrained")
    for axis, (caption, points) in zip(figure.subplots(1, len(maps)), maps.items(), strict=True):
        draw_items(axis, points, np.array(genres), dict(zip(named, MAP_COLORS, strict=False)))
        axis.set_xlabel(caption, fontsize=11)
    legend = figure.axes[0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=len(named) + 1, markerscale=2)
    return figure
