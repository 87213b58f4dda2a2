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

    mapping = umap.UMAP(NEIGHBORS, metric=METRIC, min_dist=MIN_DIST, random_state=seed, n_jobs=1)
    return np.asarray(mapping.fit_transform(vectors), dtype=np.float64)


def place_interests(
    interests: Float[np.ndarray, "interests dim"],
    average: Float[np.ndarray, " dim"],
    items: Float[np.ndarray, "n dim"],
    points: Float[np.ndarray, "n 2"],
) -> Float[np.ndarray, "interests 2"]:
    """Return the median place of the ten items nearest to what sets each interest apart.

    Places that a star's width would cover are moved apart.

    Args:
        average: the average interest of many users, which is subtracted: all interests share it.
    """
    scores = (interests - average) @ (items / np.linalg.norm(items, axis=1, keepdims=True)).T
    nearest = np.argsort(-scores, axis=1)[:, :10]  # by cosine
    width = float(np.ptp(points, axis=0).max())
    return moved_apart(np.median(points[nearest], axis=1), 0.05 * width)


def moved_apart(places: Float[np.ndarray, "k 2"], least: float) -> Float[np.ndarray, "k 2"]:
    """Move the nearest two places away from each other until all are at least `least` apart."""
    places = places.copy()
    for _ in range(100 * len(places)):
        gaps = places[:, None] - places
        distances = np.linalg.norm(gaps, axis=2)
        np.fill_diagonal(distances, np.inf)
        i, j = np.unravel_index(distances.argmin(), distances.shape)
        if (nearest := distances[i, j]) >= least * 0.999:
            break
        away = gaps[i, j] / nearest if nearest > 0 else np.array([0.0, 1.0])
        places[i] += away * (least - nearest) / 2
        places[j] -= away * (least - nearest) / 2
    return places


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
        """Return whether each star's label belongs below it, where it covers less than above."""
        near, taken = np.ptp(self.points, axis=0) * (0.09, 0.022), [*self.stars]  # half a label
        points = np.concatenate([self.points, self.centers() + near * (0, 1)])  # genres' names last
        weights = np.isin(self.genres, self.named) + 9 * (self.interest >= 0)
        weights = np.append(weights, [99] * len(self.named))
        for star in self.stars:
            labels = star + near * [[[0, 2.2]], [[0, -2.2]]]
            cost = (abs(points - labels) < near * (1.1, 1.5)).all(2) @ weights
            cost += weights.sum() * (abs(taken - labels) < 2 * near).all(2).sum(1)
            taken.append(labels[cost.argmin(), 0])
        return (self.stars[:, 1] > np.array(taken)[len(self.stars) :, 1]).tolist()

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


def draw_items(axis: Axes, points: np.ndarray, names: np.ndarray, colors: Mapping) -> None:
    """Draw a point for each item, in the color of its genre's name if that has one."""
    axis.scatter(*points[~np.isin(names, [*colors])].T, s=7, color=INK, alpha=0.3, lw=0)
    for name, color in colors.items():
        axis.scatter(*points[names == name].T, s=12, color=color, lw=0, label=name)
    axis.set(xticks=[], yticks=[], frame_on=False)


def map_figure(view: ItemMap, title: str = "") -> Figure:
    """Draw the map, opaque where a genre leads an interest's words, and the user's items."""
    figure, axis = plt.subplots(figsize=(9, 7.2), layout="constrained")
    axis.set_title(title, fontsize=11)
    first = [words.split(",")[0] for words in view.words]
    alphas = [1 if name in first else 0.55 for name in view.named]
    shades = dict(zip(view.named, zip(MAP_COLORS, alphas, strict=False), strict=False))
    draw_items(axis, view.points, np.array(view.genres), shades)
    style: dict = {"ha": "center", "va": "center", "textcoords": "offset points", "color": ON_LABEL}
    for (name, (color, _)), place in zip(shades.items(), view.centers(), strict=False):
        axis.annotate(name, place, (0, 12), size=13, weight="bold", **{**style, "color": color})
    for k, (star, is_below) in enumerate(zip(view.stars, view.is_below(), strict=True)):
        box = {"boxstyle": "round,pad=0.25", "fc": LABEL, "ec": COLORS[k], "lw": 1.5}
        for place in view.points[view.interest == k]:
            axis.plot(*np.array([place, star]).T, color=COLORS[k], lw=0.7, alpha=0.6, zorder=4)
            circle = {**box, "boxstyle": "circle,pad=0.12"}
            axis.annotate(f"{k + 1}", place, (0, 0), size=8, bbox=circle, zorder=5, **style)
        axis.scatter(*star, marker="*", s=320, color=COLORS[k], edgecolor=ON_LABEL, zorder=8)
        text, offset = f"{k + 1} {view.words[k]}", (0, -21 if is_below else 20)
        axis.annotate(text, star, offset, size=10, bbox=box, zorder=7, **style)
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
    figure.legend(*legend, loc="outside lower center", ncols=len(named), markerscale=2)
    return figure
