"""The map of the items: UMAP, its quality, and the picture (§4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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

    mapping = umap.UMAP(
        n_neighbors=NEIGHBORS, min_dist=MIN_DIST, metric=METRIC, random_state=seed, n_jobs=1
    )
    return np.asarray(mapping.fit_transform(vectors), dtype=np.float64)


def place_interests(
    interests: Float[np.ndarray, "interests dim"],
    average: Float[np.ndarray, " dim"],
    items: Float[np.ndarray, "n dim"],
    points: Float[np.ndarray, "n 2"],
) -> Float[np.ndarray, "interests 2"]:
    """Return the median place of the ten items nearest to what sets each interest apart.

    Args:
        average: the average interest of many users, which is subtracted: all interests share it.
    """
    scores = (interests - average) @ (items / np.linalg.norm(items, axis=1, keepdims=True)).T
    nearest = np.argsort(-scores, axis=1)[:, :10]  # by cosine
    return np.median(points[nearest], axis=1)


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
        named: the genres that have a color and a label.
        stars, words: the place of each interest, and words that describe it.
        interest: for each item of the user's history the interest with most of it; -1 for others.
    """

    points: Float[np.ndarray, "items 2"]
    genres: Sequence[str]
    named: Sequence[str]
    stars: Float[np.ndarray, "interests 2"]
    words: Sequence[str]
    interest: Int[np.ndarray, " items"]

    def is_below(self) -> list[bool]:
        """Return whether the label of each star belongs below it, because another one is above."""
        near = np.ptp(self.points, axis=0) * (0.25, 0.07)
        stars = list(self.stars)
        return [any((abs(s - t) < near).all() for t in stars[:k]) for k, s in enumerate(stars)]

    def centers(self) -> Float[np.ndarray, "named 2"]:
        """Return for each named genre its point in the densest place that no star covers."""
        near = np.ptp(self.points, axis=0) * (0.14, 0.07)
        covered = (abs(self.points[:, None] - self.stars) < near).all(2).any(1)
        centers = []
        for name in self.named:
            own = np.array(self.genres) == name
            own = self.points[own & ~covered if (own & ~covered).any() else own]
            distances = np.linalg.norm(own[:, None] - own[None], axis=2)
            centers.append(own[np.sort(distances, axis=1)[:, len(own) // 5].argmin()])
        return np.array(centers)


def draw_items(axis: Axes, points: np.ndarray, genres: Sequence[str], named: Sequence[str]) -> None:
    """Draw a point for each item, in its genre's color if that is named."""
    names = np.array(genres)
    others = ~np.isin(names, named)
    size = axis.get_window_extent().width / 70
    axis.scatter(*points[others].T, s=0.7 * size, color=INK, alpha=0.4, lw=0)
    for color, name in zip(MAP_COLORS, named, strict=False):
        axis.scatter(*points[names == name].T, s=size, color=color, alpha=0.5, lw=0)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def map_figure(view: ItemMap, title: str = "") -> Figure:
    """Draw the map with genre names, the user's items, and lines to the interests (stars)."""
    figure, axis = plt.subplots(figsize=(9, 7.2), layout="constrained")
    axis.set_title(title, fontsize=11)
    draw_items(axis, view.points, view.genres, view.named)
    for color, name, (x, y) in zip(MAP_COLORS, view.named, view.centers(), strict=False):
        axis.text(x, y, name, color=color, size=13, weight="bold", ha="center", va="bottom")
    stars = zip(view.stars, view.words, view.is_below(), strict=True)
    for k, (star, words, is_below) in enumerate(stars):
        own = view.points[view.interest == k]
        for x, y in own:
            axis.plot([x, star[0]], [y, star[1]], color=COLORS[k], lw=1, alpha=0.5, zorder=4)
        axis.scatter(*own.T, s=34, color=COLORS[k], edgecolor=LABEL, lw=0.7, zorder=5)
        axis.scatter(*star, marker="*", s=420, color=COLORS[k], edgecolor=LABEL, lw=1, zorder=8)
        axis.annotate(
            f"{k + 1} {words}", star, xytext=(0, -25 if is_below else 15), ha="center", size=10,
            textcoords="offset points", color=ON_LABEL, zorder=7,
            bbox={"boxstyle": "round,pad=0.25", "fc": LABEL, "ec": COLORS[k], "lw": 1.5},
        )  # fmt: skip
    return figure


def small_maps(
    maps: Mapping[str, np.ndarray], genres: Sequence[str], named: Sequence[str]
) -> Figure:
    """Draw several maps of the same items side by side, by the caption below each."""
    size = 3.4 * len(maps), 3.6
    figure, axes = plt.subplots(1, len(maps), figsize=size, layout="constrained", squeeze=False)
    for axis, (caption, points) in zip(axes[0], maps.items(), strict=True):
        draw_items(axis, points, genres, named)
        axis.set_xlabel(caption, fontsize=10)
    for color, name in zip(MAP_COLORS, named, strict=False):
        axes[0][0].scatter([], [], s=30, color=color, label=name)
    figure.legend(loc="outside lower center", ncols=len(named))
    return figure
