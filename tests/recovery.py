"""How many of a planted user's interests a model recovers, for tests of learning."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data import Histories, PlantedWorld
from mindlib.retrieval import InterestModel


def recovered_interests(
    model: InterestModel, world: PlantedWorld, histories: Histories, *, nearest: int = 10
) -> Float[Tensor, " users"]:
    """Compute the share of each user's planted interests that their vectors recover.

    A vector recovers the cluster to which most of its best items belong.

    Args:
        world: the generated world, in which each interest is a cluster of items.
        nearest: the number of best items of a vector.
    """
    vectors, active = model.interests(histories)
    items = model.item_vectors()
    clusters = torch.from_numpy(world.item_clusters)
    best = (vectors.flatten(0, 1) @ items[1:].T).topk(nearest).indices + 1
    votes = torch.nn.functional.one_hot(clusters[best], world.interests.shape[1]).sum(1)
    majority = votes.argmax(1).unflatten(0, active.shape)
    recovered = torch.zeros((len(histories), world.interests.shape[1]), dtype=torch.bool)
    rows, columns = active.nonzero(as_tuple=True)
    recovered[rows, majority[rows, columns]] = True
    planted = torch.from_numpy(world.interests)[histories.users]
    return (recovered & planted).sum(1) / planted.sum(1)
