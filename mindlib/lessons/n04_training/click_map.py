"""One user's interests on a map of the items, before and after she clicks on something more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.lessons.n04_training.serving_trials import Served
from mindlib.retrieval import InterestModel

LISTED = 20


class Seen(NamedTuple):
    """What the model makes of a past.

    Attributes:
        vectors: V_u.
        points: the same on the map.
        active: which of them she has.
        clusters: how many of her top `LISTED` belong to each cluster.
    """

    vectors: Float[Tensor, "interests dim"]
    points: Float[np.ndarray, "interests 2"]
    active: Bool[np.ndarray, " interests"]
    clusters: Int[np.ndarray, " clusters"]


@dataclass(frozen=True)
class ClickMap:
    """A map, a user on it, and what she may click on.

    Attributes:
        model: makes V_u of her past.
        past: her items, oldest first.
        profile: her codes.
        items: each item on the map: the two directions in which item vectors differ most.
        directions, centre, shrink: how a vector gets there; interests are longer than items, and
            are drawn shorter, all by one factor.
        item_clusters: of each item, -1 for padding.
        popular: the items of each cluster, the most frequent first, without her own.
    """

    model: InterestModel
    past: list[int]
    profile: list[int]
    items: Float[np.ndarray, "items 2"]
    directions: Float[Tensor, "dim 2"]
    centre: Float[Tensor, " dim"]
    shrink: float
    item_clusters: Int[np.ndarray, " items_and_padding"]
    popular: dict[int, list[int]]

    def after(self, cluster: int, clicks: int) -> Seen:
        """The model's answer to her past with so many clicks on a cluster's items behind it."""
        behaviors = [*self.past, *self.popular[cluster][:clicks]]
        history = Histories.from_lists([behaviors], [self.profile])
        vectors, active = self.model.interests(history)
        points = self.shrink * (vectors[0] - self.centre) @ self.directions
        listed = self.model.recommend(history, LISTED).items[0].numpy()
        of = self.item_clusters[listed]
        clusters = np.bincount(of, minlength=len(self.popular))
        return Seen(vectors[0], points.numpy(), active[0].numpy(), clusters)


def moved(before: Seen, after: Seen) -> list[tuple[int, int]]:
    """Which interest of before is which after: the pairs that are nearest all in all.

    The numbers of the interests do not say, for routing's logits are random.
    """
    here, there = np.flatnonzero(before.active), np.flatnonzero(after.active)
    distances = torch.cdist(before.vectors[here], after.vectors[there])
    rows, columns = linear_sum_assignment(distances.numpy())
    return [(int(here[r]), int(there[c])) for r, c in zip(rows, columns, strict=True)]


def click_map(served: Served, case: int) -> ClickMap:
    """The map of a served model, and the user of one of the test cases."""
    world, split, model = served
    histories = split.test.histories
    past = histories.items[histories.starts[case] : histories.ends[case]].tolist()
    vectors = model.item_vectors()[1:]
    centre = vectors.mean(0)
    directions = torch.linalg.svd(vectors - centre, full_matrices=False).Vh[:2].T
    points = ((vectors - centre) @ directions).numpy()
    interests, active = model.interests(histories)
    reach = np.percentile(np.linalg.norm(points, axis=1), 95)
    far = np.percentile(
        np.linalg.norm(((interests[active] - centre) @ directions).numpy(), axis=1), 95
    )
    popular = {}
    for cluster in range(world.probabilities.shape[0]):
        members = np.flatnonzero(world.item_clusters == cluster)
        members = members[np.argsort(-split.train_counts[members], kind="stable")]
        popular[cluster] = [int(item) for item in members if item not in set(past)]
    profile = histories.profiles[histories.users[case]].tolist()
    return ClickMap(
        model, past, profile, points, directions, centre, float(reach / far),
        world.item_clusters, popular,
    )  # fmt: skip
