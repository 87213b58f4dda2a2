"""What is going on inside a model: interest collapse, routing collapse, recovered interests."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.planted import PlantedWorld
from mindlib.retrieval import InterestModel


def interest_cosine(
    vectors: Float[Tensor, "users interests dim"], active: Bool[Tensor, "users interests"]
) -> Float[Tensor, " users"]:
    """Mean cosine between a user's active interests: near 1 is interest collapse.

    NaN for a user with one interest, of whom there is nothing to compare.
    """
    unit = torch.nn.functional.normalize(vectors, dim=2)
    cosine = unit @ unit.transpose(1, 2)
    pairs = (active[:, :, None] & active[:, None, :]).triu(diagonal=1)
    return (cosine * pairs).sum((1, 2)) / pairs.sum((1, 2))


def routing_entropy(
    coupling: Float[Tensor, "users interests length"], active: Bool[Tensor, "users interests"]
) -> Float[Tensor, " users"]:
    """How evenly an interest draws on the behaviours, from 0 (one only) to 1 (all alike).

    The entropy of an interest's coupling, made to sum to 1 over the behaviours and divided by the
    logarithm of their number; the mean over active interests. Near 0 is routing collapse: each
    interest copies one behaviour. NaN for a user with fewer than two behaviours.
    """
    behaviors = (coupling > 0).any(1).sum(1)
    share = coupling / coupling.sum(2, keepdim=True).clamp(min=torch.finfo(coupling.dtype).tiny)
    entropy = torch.special.entr(share).sum(2) * active
    normalised = entropy.sum(1) / active.sum(1) / torch.log(behaviors.to(coupling.dtype))
    return torch.where(behaviors > 1, normalised, torch.nan)


def recovered_interests(
    model: InterestModel, world: PlantedWorld, histories: Histories, *, nearest: int = 10
) -> Float[Tensor, " users"]:
    """The share of each user's planted interests that one of her vectors has found.

    A vector stands for the cluster that has most of its `nearest` best items.
    """
    vectors, active = model.interests(histories)
    items = model.item_vectors()
    clusters = torch.from_numpy(world.item_clusters)
    best = (vectors.flatten(0, 1) @ items[1:].T).topk(nearest).indices + 1
    votes = torch.nn.functional.one_hot(clusters[best], world.interests.shape[1]).sum(1)
    named = votes.argmax(1).unflatten(0, active.shape)
    found = torch.zeros((len(histories), world.interests.shape[1]), dtype=torch.bool)
    rows, columns = active.nonzero(as_tuple=True)
    found[rows, named[rows, columns]] = True
    truth = torch.from_numpy(world.interests)[histories.users]
    return (found & truth).sum(1) / truth.sum(1)
