"""One user's interests, items and attended vector in a plane (§3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.planted import PlantedWorld
from mindlib.data.splits import Cases
from mindlib.layers.attention import attention_weights, label_aware_attention
from mindlib.retrieval import InterestModel


class Seen(NamedTuple):
    """What one label and one p make of the user; in the order in which the figure takes it.

    Attributes:
        items, interests, label, attended: places in the plane.
        groups: which of her true clusters each item belongs to, from 0; -1 for none.
        families: the same for the cluster whose items an interest ranks first.
        scores, weights: of each interest, for the label.
    """

    items: Float[np.ndarray, "items 2"]
    groups: Int[np.ndarray, " items"]
    interests: Float[np.ndarray, "interests 2"]
    families: Int[np.ndarray, " interests"]
    label: Float[np.ndarray, " 2"]
    attended: Float[np.ndarray, " 2"]
    scores: Float[np.ndarray, " interests"]
    weights: Float[np.ndarray, " interests"]


@dataclass(frozen=True)
class UserPlane:
    """A user, and the two directions in which her interests and her clusters' items differ most.

    The picture is linear, so a mixture of interests is the same mixture of their places. The
    interests are drawn shorter by one common factor, to the length of items: that changes no order
    of scores.

    Attributes:
        items: all of them; row 0 is padding.
        interests: all active.
        groups, families: see `Seen`; with an entry for padding.
        center, basis: of the plane.
    """

    items: Float[Tensor, "items dim"]
    interests: Float[Tensor, "interests dim"]
    groups: Int[np.ndarray, " items"]
    families: Int[np.ndarray, " interests"]
    center: Float[Tensor, " dim"]
    basis: Float[Tensor, "dim 2"]

    def at(self, label: int, power: float) -> Seen:
        """Attend by item `label` with p = `power`."""
        active = torch.ones(1, len(self.interests), dtype=torch.bool)
        query = self.items[label : label + 1]
        scores = (self.interests @ self.items[label])[None]
        weights = attention_weights(scores, active, power)[0]
        attended = label_aware_attention(self.interests[None], active, query, power)[0]
        shrink = self.items[1:].norm(dim=1).mean() / self.interests.norm(dim=1).mean()

        def place(vectors: Float[Tensor, "*n dim"]) -> Float[np.ndarray, "*n 2"]:
            return ((vectors - self.center) @ self.basis).numpy()

        return Seen(
            place(self.items[1:]),
            self.groups[1:],
            place(shrink * self.interests),
            self.families,
            place(self.items[label]),
            place(shrink * attended),
            scores[0].numpy(),
            weights.numpy(),
        )


def user_plane(model: InterestModel, cases: Cases, case: int, world: PlantedWorld) -> UserPlane:
    """The plane of the user of one case, who has all K interests."""
    items = model.item_vectors()
    interests = model.interests(cases.histories.select(slice(case, case + 1)))[0][0]
    hers = np.flatnonzero(world.interests[int(cases.histories.users[case])])
    number = np.full(world.interests.shape[1], -1)
    number[hers] = np.arange(len(hers))
    groups = np.where(world.item_clusters >= 0, number[world.item_clusters], -1)
    families = number[favourite_clusters(interests, items, world.item_clusters)]
    center = items[1:].mean(0)
    shrink = items[1:].norm(dim=1).mean() / interests.norm(dim=1).mean()
    spanned = torch.cat([shrink * interests, items[torch.from_numpy(groups >= 0)]]) - center
    basis = torch.linalg.svd(spanned, full_matrices=False).Vh[:2].T
    return UserPlane(items, interests, groups, families, center, basis)


def favourite_clusters(
    vectors: Float[Tensor, "interests dim"],
    items: Float[Tensor, "items dim"],
    clusters: Int[np.ndarray, " items"],
    *,
    nearest: int = 10,
) -> Int[np.ndarray, " interests"]:
    """The cluster that has most of an interest's best items (row 0 of the items is padding)."""
    best = (vectors @ items[1:].T).topk(nearest).indices.numpy() + 1
    return np.array([np.bincount(row).argmax() for row in clusters[best]])


def labels_to_try(world: PlantedWorld, cases: Cases, case: int) -> dict[str, int]:
    """Her next item, the first item of each of her clusters, and of one that is not hers."""
    hers = np.flatnonzero(world.interests[int(cases.histories.users[case])])
    stranger = np.setdiff1d(np.arange(world.interests.shape[1]), hers)[:1]
    target = int(cases.targets[case])
    found = {f"her next item ({world.log.label(target)})": target}
    for cluster in (*hers, *stranger):
        first = int(np.flatnonzero(world.item_clusters == cluster)[0])
        whose = "hers" if cluster in hers else "not hers"
        found[f"{world.log.label(first)} ({whose})"] = first
    return found
