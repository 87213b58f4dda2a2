"""What one vector can retrieve, and what takes several (§3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from scipy.optimize import linprog
from torch import Tensor
from torch.nn import functional as F

from mindlib.retrieval import score_by_best_interest, top_n

BETWEEN, REST = 2, 3

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Circle:
    """Items of length 1 in the plane, so that an inner product is the cosine of an angle.

    Attributes:
        items: their vectors.
        clusters: 0 and 1 are liked, 2 lies between the two, 3 is the rest of the catalogue.
    """

    items: Float[Tensor, "items 2"]
    clusters: Int[Tensor, " items"]

    @property
    def liked(self) -> Bool[Tensor, "interests items"]:
        """A row for each of the two interests: the items that belong to it."""
        return self.clusters == torch.arange(2)[:, None]

    @property
    def centres(self) -> Float[Tensor, "interests 2"]:
        """The mean of the items of each interest."""
        return torch.stack([self.items[row].mean(0) for row in self.liked])


def directions(degrees: Float[Tensor, " n"]) -> Float[Tensor, "n 2"]:
    """Vectors of length 1 in the plane, from their angles."""
    radians = torch.deg2rad(degrees)
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def circle_world(
    angle: float = 100.0, *, per_cluster: int = 8, spread: float = 12.0, rest: bool = True
) -> Circle:
    """Two liked clusters `angle` degrees apart, one in the middle between them, and the rest.

    Args:
        angle: between the centres of the liked clusters; the third one's is at 0 degrees.
        per_cluster: the items of each of the three.
        spread: degrees from the first item of a cluster to its last.
        rest: whether there are items on the far side, twice as many as in a cluster.
    """
    if not 3 * spread <= angle <= 180:
        raise ValueError(
            f"angle={angle}: expected {3 * spread} to 180 degrees, so that clusters stay apart"
        )
    around = torch.linspace(-spread / 2, spread / 2, per_cluster, dtype=torch.float64)
    groups = [angle / 2 + around, -angle / 2 + around, around]
    if rest:
        edge = angle / 2 + 2 * spread
        far = torch.linspace(edge, 360 - edge, 2 * per_cluster, dtype=torch.float64)
        groups.append(far)
    clusters = torch.cat([torch.full((len(g),), n) for n, g in enumerate(groups)])
    return Circle(directions(torch.cat(groups)), clusters)


def every_ranking(items: Float[Tensor, "items 2"]) -> Float[Tensor, " rankings"]:
    """Angles, in degrees, of one direction for each ranking that any vector of the plane gives.

    Two items change places only where the direction is perpendicular to their difference. Between
    two neighbouring such angles the order of all items is one and the same, so that one direction
    from each gap stands for all there are.
    """
    first, second = torch.triu_indices(len(items), len(items), offset=1)
    difference = items[first] - items[second]
    across = torch.rad2deg(torch.atan2(difference[:, 1], difference[:, 0])) + 90
    turns = torch.cat([across, across + 180]).remainder(360).sort().values
    turns = torch.cat([turns, turns[:1] + 360])
    gaps = turns.diff()
    return (turns[:-1] + gaps / 2)[gaps > 1e-9].remainder(360)


def retrieved(
    vectors: Float[Tensor, "queries interests dim"], items: Float[Tensor, "items dim"], n: int
) -> Bool[Tensor, "queries items"]:
    """Which items are the n best by the best of a query's vectors (Eq. 3)."""
    active = torch.ones(vectors.shape[:2], dtype=torch.bool)
    best = top_n(score_by_best_interest(vectors, active, items), n).items
    found = torch.zeros(len(vectors), len(items), dtype=torch.bool)
    return found.scatter_(1, best, True)


def recall_of_each(
    found: Bool[Tensor, "queries items"], liked: Bool[Tensor, "#queries interests items"]
) -> Float[Tensor, "queries interests"]:
    """The share of each interest's items that was found."""
    return (found[:, None] & liked).sum(2).to(torch.float64) / liked.sum(2)


def sweep(circle: Circle, n: int) -> tuple[Float[Tensor, " rankings"], Float[Tensor, "rankings 2"]]:
    """Every ranking's direction, from -180 to 180, and its share of A and of B among the n best."""
    angles = every_ranking(circle.items)
    found = retrieved(directions(angles)[:, None], circle.items, n)
    return (angles + 180).remainder(360) - 180, recall_of_each(found, circle.liked[None])


def separating_vector(
    liked: Float[np.ndarray, "n dim"], others: Float[np.ndarray, "m dim"]
) -> Float[np.ndarray, " dim"] | None:
    """A vector that scores every liked item above every other one; None if there is none.

    A linear program: find v and a threshold t with v'a >= t + 1 and v'c <= t - 1. The answer
    "none" is a proof, not a search that gave up: see `common_point`.
    """
    rows = np.r_[-liked, others]
    threshold = np.r_[np.ones(len(liked)), -np.ones(len(others))]
    answer = linprog(
        np.zeros(liked.shape[1] + 1),
        A_ub=np.c_[rows, threshold],
        b_ub=-np.ones(len(rows)),
        bounds=(None, None),
    )
    return answer.x[:-1] if answer.status == 0 else None


def common_point(
    liked: Float[np.ndarray, "n dim"], others: Float[np.ndarray, "m dim"]
) -> Float[np.ndarray, " dim"] | None:
    """A weighted mean of liked items that is also one of other items; None if there is none.

    Where there is one, x, no vector v can put all liked items first: v'x is at least the smallest
    score of a liked item and at most the largest of another one.
    """
    n, m = len(liked), len(others)
    sums = np.zeros((2, n + m))
    sums[0, :n] = sums[1, n:] = 1
    answer = linprog(
        np.zeros(n + m),
        A_eq=np.r_[np.c_[liked.T, -others.T], sums],
        b_eq=np.r_[np.zeros(liked.shape[1]), 1, 1],
    )
    return answer.x[:n] @ liked if answer.status == 0 else None


def random_clusters(
    clusters: int, per_cluster: int, dim: int, *, scatter: float = 0.5, seed: int
) -> Float[np.ndarray, "clusters per_cluster dim"]:
    """Items of length 1 around centres that point anywhere.

    Args:
        scatter: the length of an item's own part beside its centre's, which is 1.
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, 1, dim))
    centres /= np.linalg.norm(centres, axis=2, keepdims=True)
    items = centres + scatter * dim**-0.5 * rng.standard_normal((clusters, per_cluster, dim))
    return items / np.linalg.norm(items, axis=2, keepdims=True)


def servable(
    dims: tuple[int, ...], interests: int, *, draws: int, clusters: int = 24, per_cluster: int = 8
) -> dict[int, Interval]:
    """The share of random users whom one vector can serve, for each dimension.

    A user likes the first `interests` of 24 random clusters; she is served if some vector scores
    every item of these above every other item.

    Returns:
        For each dimension the share, and the ends of its 95 % interval (Wilson's).
    """
    cut = interests * per_cluster
    shares = {}
    for dim in dims:
        worlds = (
            random_clusters(clusters, per_cluster, dim, seed=seed).reshape(-1, dim)
            for seed in range(draws)
        )
        count = sum(separating_vector(w[:cut], w[cut:]) is not None for w in worlds)
        ends = stats.binomtest(count, draws).proportion_ci(method="wilson")
        shares[dim] = (count / draws, float(ends.low), float(ends.high))
    return shares


def climb(
    start: Float[Tensor, "queries dim"],
    items: Float[Tensor, "items dim"],
    liked: Bool[Tensor, "queries interests items"],
    *,
    steps: int = 400,
    learning_rate: float = 0.1,
) -> Float[Tensor, "queries dim"]:
    """One vector for each query, improved by gradient descent with the truth before its eyes.

    Logistic regression of liked against other items, every interest and the rest with the same
    weight. The scale of the items is taken out first: it is no part of the ranking.
    """
    scaled = items / items.norm(dim=1).mean()
    wanted = liked.any(1)
    share = (liked / liked.sum(2, keepdim=True)).sum(1) / liked.shape[1]
    weight = share + ~wanted / (~wanted).sum(1, keepdim=True)
    vectors = F.normalize(start, dim=1).clone().requires_grad_()
    threshold = torch.zeros(len(start), 1, dtype=start.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([vectors, threshold], lr=learning_rate)
    for _ in range(steps):
        optimizer.zero_grad()
        scores = vectors @ scaled.T - threshold
        loss = F.binary_cross_entropy_with_logits(
            scores, wanted.to(scores.dtype), weight.to(scores.dtype), reduction="sum"
        )
        loss.backward()
        optimizer.step()
    return vectors.detach()
