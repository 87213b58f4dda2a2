"""What the description of an item does for it: near its kind before training, and cold (§3.2)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mindlib.data.feature_table import FeatureTable
from mindlib.layers.pooling import ItemEmbedding
from mindlib.lessons.n00_problem.geometry import Interval, retrieved
from mindlib.lessons.n00_problem.served import TwoInterests, interval
from mindlib.models.vector_model import VectorModel


def pairs_by_shared_fields(
    codes: Int[np.ndarray, "items fields"], *, limit: int = 2000, fewest: int = 100, seed: int
) -> dict[int, tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]]:
    """Pairs of different items, by the number of fields in which they agree.

    Random pairs agree in little; to them are added those that follow one another in the order of
    the fields. Items with an unknown field (code 0) are left out.

    Args:
        codes: the features of the items, a row each.
        limit: the most pairs for each number.
        fewest: numbers with fewer pairs than this are left out.
    """
    full = np.flatnonzero((codes > 0).all(1))
    rng = np.random.default_rng(seed)
    order = full[np.lexsort(codes[full].T[::-1])]
    left = np.r_[rng.choice(full, 200 * limit), order[:-1]]
    right = np.r_[rng.choice(full, 200 * limit), order[1:]]
    left, right = left[left != right], right[left != right]
    agree = (codes[left] == codes[right]).sum(1)
    rows = {number: np.flatnonzero(agree == number)[:limit] for number in range(codes.shape[1] + 1)}
    return {
        number: (torch.from_numpy(left[chosen]), torch.from_numpy(right[chosen]))
        for number, chosen in rows.items()
        if len(chosen) >= fewest
    }


def cosines_by_shared_fields(
    features: FeatureTable, dim: int, *, tables: int
) -> list[dict[int, Float[np.ndarray, " pairs"]]]:
    """Cosines of pairs of untrained items, by the number of fields they share, for each table.

    Args:
        tables: how many embeddings are drawn; the pairs are the same for all.
    """
    pairs = pairs_by_shared_fields(features.codes, seed=0)
    cosines = []
    for seed in range(tables):
        generator = torch.Generator().manual_seed(seed)
        embedding = ItemEmbedding(len(features.codes) - 1, dim, features, generator=generator)
        unit = F.normalize(embedding.all(), dim=1)
        cosines.append({n: (unit[a] * unit[b]).sum(1).numpy() for n, (a, b) in pairs.items()})
    return cosines


def with_codes(
    embedding: ItemEmbedding, items: Int[Tensor, " n"], codes: Int[Tensor, "n fields"]
) -> Float[Tensor, "items dim"]:
    """The vectors of the whole catalogue, had some items other codes; the embedding stays."""
    vectors = embedding.all()
    with torch.no_grad():
        vectors[items] = F.embedding_bag(codes, embedding.weight, mode="mean", padding_idx=0)
    return vectors


def new_ids(embedding: ItemEmbedding, items: Int[Tensor, " n"], *, seed: int) -> None:
    """Draw the id rows of some items anew, as they are before any training."""
    generator = torch.Generator().manual_seed(seed)
    deviation = (embedding.codes.shape[1] / embedding.dim) ** 0.5
    with torch.no_grad():
        embedding.weight[items] = deviation * torch.randn(
            len(items), embedding.dim, generator=generator
        )


def cold_starts(
    models: dict[str, VectorModel], cold: Int[Tensor, " cold"], *, seed: int
) -> dict[str, tuple[VectorModel, Float[Tensor, "items dim"]]]:
    """Four ways to embed items that no training has met: the model, and its catalogue.

    A new item's id row is random. Its feature rows are trained. The third way leaves the id out of
    the mean, like any unknown field; so does the null, in which each cold item has the features of
    a random other item.

    Args:
        models: "id only" and "with features".
        seed: draws the id rows and the other items.
    """
    for model in models.values():
        new_ids(model.items, cold, seed=seed)
    described = models["with features"]
    codes = described.items.codes
    warm = np.setdiff1d(np.arange(1, len(codes)), cold.numpy())
    others = np.random.default_rng(seed).choice(warm, len(cold), replace=False)
    without_id, another = codes[cold].clone(), codes[others].clone()
    without_id[:, 0] = another[:, 0] = 0
    return {
        "id only": (models["id only"], models["id only"].item_vectors()),
        "with features": (described, described.item_vectors()),
        "features, id left out": (described, with_codes(described.items, cold, without_id)),
        "null: another's features": (described, with_codes(described.items, cold, another)),
    }


def found_of_each_kind(
    users: TwoInterests,
    vectors: Float[Tensor, "users interests dim"],
    items: Float[Tensor, "all dim"],
    clusters: Int[Tensor, " all"],
) -> tuple[Float[Tensor, " users"], Float[Tensor, " users"]]:
    """What each user's list has of the cold items of her two clusters, and of the warm ones.

    The whole catalogue competes, and a list is as long as the two clusters.

    Args:
        vectors: of the users.
        items: e_i for the whole catalogue, row 0 padding.
        clusters: of each of these.
    """
    liked: Bool[Tensor, "users all"] = (clusters == users.pairs[:, :, None]).any(1)[:, 1:]
    warm = torch.zeros(len(clusters), dtype=torch.bool)
    warm[users.catalogue] = True
    found = retrieved(vectors, items[1:], int(liked[0].sum()))
    cold_liked, warm_liked = liked & ~warm[1:], liked & warm[1:]
    return (
        (found & cold_liked).sum(1) / cold_liked.sum(1),
        (found & warm_liked).sum(1) / warm_liked.sum(1),
    )


def cold_and_warm_found(
    users: TwoInterests,
    starts: dict[str, tuple[VectorModel, Float[Tensor, "all dim"]]],
    clusters: Int[Tensor, " all"],
) -> dict[str, dict[str, Interval]]:
    """How much is found of each kind of item, for each of `cold_starts`: mean and interval.

    By the means of a user's two interests and cosine; of the cold items also by the model's own
    vector and inner product.
    """
    found: dict[str, dict[str, Interval]] = {
        kind: {} for kind in ("cold items", "warm items", "cold items, by the model's own vector")
    }
    for name, (model, items) in starts.items():
        unit = F.normalize(items, dim=1)
        two = F.normalize(users.means(unit)[1], dim=2)
        by_two = found_of_each_kind(users, two, unit, clusters)
        own = found_of_each_kind(users, model.interests(users.pasts)[0], items, clusters)
        for kind, shares in zip(found, (*by_two, own[0]), strict=True):
            found[kind][name] = interval(shares)
    return found
