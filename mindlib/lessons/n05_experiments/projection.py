"""Pictures with their error bars: trust in the plane, purity in the space it came from."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize


class Projection(NamedTuple):
    """Vectors in the plane.

    Attributes:
        points: where they lie.
        trust: trustworthiness, 1 if every neighbour in the plane is one in space; 0.5 is what a
            random layout has.
        settings: what it was made with, in words.
    """

    points: Float[np.ndarray, "n 2"]
    trust: float
    settings: str


def project(
    vectors: Float[np.ndarray, "n dim"], *, neighbors: int = 15, min_dist: float = 0.1, seed: int
) -> Projection:
    """UMAP by cosine distance, reproducible for a seed (and therefore single-threaded).

    Raises:
        ValueError: fewer than five vectors.
    """
    neighbors = _judged(neighbors, len(vectors))
    import umap  # compiles for seconds at import: only where a picture is wanted

    with warnings.catch_warnings():
        # It says that a seed costs parallelism, which is meant.
        warnings.filterwarnings("ignore", message="n_jobs value", category=UserWarning)
        points = umap.UMAP(
            n_neighbors=neighbors, min_dist=min_dist, metric="cosine", random_state=seed
        ).fit_transform(vectors)
    points = np.asarray(points, dtype=np.float64)
    trust = trustworthiness(vectors, points, n_neighbors=neighbors, metric="cosine")
    settings = f"UMAP, cosine, n_neighbors {neighbors}, min_dist {min_dist}, seed {seed}"
    return Projection(points, float(trust), settings)


def principal_plane(vectors: Float[np.ndarray, "n dim"], *, neighbors: int = 15) -> Projection:
    """The plane in which the vectors' directions differ most (PCA of unit vectors).

    Linear, and without a seed: what it shows is there. What it leaves out, the share of the
    variance in its settings tells.

    Args:
        neighbors: of which trust is judged.

    Raises:
        ValueError: fewer than five vectors, or fewer than two dimensions.
    """
    neighbors = _judged(neighbors, len(vectors))
    if vectors.shape[1] < 2:
        raise ValueError(f"vectors of {vectors.shape[1]} number: a plane needs at least two")
    plane = PCA(n_components=2, svd_solver="full")
    points = plane.fit_transform(normalize(np.asarray(vectors, dtype=np.float64)))
    trust = trustworthiness(vectors, points, n_neighbors=neighbors, metric="cosine")
    first, second = plane.explained_variance_ratio_
    settings = f"PCA of unit vectors: {first:.0%} and {second:.0%} of the variance"
    return Projection(points, float(trust), settings)


def _judged(neighbors: int, number: int) -> int:
    """As many as asked, but trustworthiness is defined for fewer than half of the points."""
    neighbors = min(neighbors, (number - 1) // 2)
    if neighbors < 2:
        raise ValueError(f"{number} vectors: a projection needs at least five")
    return neighbors


def neighbor_purity(
    vectors: Float[np.ndarray, "n dim"], groups: Int[np.ndarray, " n"], *, neighbors: int = 10
) -> float:
    """The share of an item's nearest neighbours, by cosine in the original space, in its group."""
    search = NearestNeighbors(n_neighbors=neighbors + 1, metric="cosine").fit(vectors)
    nearest = search.kneighbors(return_distance=False)[:, :neighbors]
    return float((groups[nearest] == groups[:, None]).mean())
