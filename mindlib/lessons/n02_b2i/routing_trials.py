"""What routing does over many draws (§3.3.2): planted users, and whether their kinds are found.

No training here: every function routes behaviours whose clusters are known, so that a reading of
the paper can be judged by what it finds, with an interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from sklearn.cluster import KMeans
from torch import Tensor

from mindlib.evaluation import (
    Estimate,
    interest_cosine,
    mean_estimate,
    routing_entropy,
    share_estimate,
)
from mindlib.layers.routing import B2IRouting, Capsules, RoutingConfig


class PlantedUsers(NamedTuple):
    """Users with the same number of behaviours, cluster by cluster.

    Attributes:
        behaviors: e_i; each has the same length, the scale.
        clusters: the planted interest that each behaviour belongs to.
        items: an id for each behaviour, no two alike (for `gaussian_logits`).
    """

    behaviors: Float[Tensor, "users length dim"]
    clusters: Int[Tensor, "users length"]
    items: Int[Tensor, "users length"]

    @property
    def mask(self) -> Bool[Tensor, "users length"]:
        """All places hold a behaviour."""
        return torch.ones_like(self.items, dtype=torch.bool)

    def reordered(self, order: Int[Tensor, "users places"]) -> PlantedUsers:
        """Each user's behaviours in another order, or some of them."""
        by_vector = order[:, :, None].expand(-1, -1, self.behaviors.shape[2])
        return PlantedUsers(
            self.behaviors.gather(1, by_vector),
            self.clusters.gather(1, order),
            self.items.gather(1, order),
        )

    def shuffled(self, generator: torch.Generator) -> PlantedUsers:
        """Each user's behaviours in a random order of her own."""
        return self.reordered(torch.rand(self.items.shape, generator=generator).argsort(1))

    def window(self, first: int, number: int) -> PlantedUsers:
        """So many behaviours of each user, from the first one on."""
        places = torch.arange(first, first + number)
        return self.reordered(places.expand(len(self.items), -1))


def planted_users(
    users: int,
    *,
    clusters: int = 3,
    per_cluster: int = 7,
    dim: int = 16,
    scale: float = 4.0,
    noise: float = 0.5,
    generator: torch.Generator,
) -> PlantedUsers:
    """Users with one interest in each of some clusters, drawn anew for each user.

    Args:
        scale: the length of every embedding, |e_i|.
        noise: how far an item strays from its cluster's direction (0: not at all).
    """
    centers = torch.randn(users, clusters, 1, dim, generator=generator)
    strays = torch.randn(users, clusters, per_cluster, dim, generator=generator) * dim**-0.5
    directions = torch.nn.functional.normalize(centers, dim=3) + noise * strays
    behaviors = scale * torch.nn.functional.normalize(directions, dim=3)
    number = clusters * per_cluster
    return PlantedUsers(
        behaviors.flatten(1, 2),
        torch.arange(clusters).repeat_interleave(per_cluster).expand(users, -1),
        1 + torch.arange(users * number).reshape(users, number),
    )


def random_logits(
    users: PlantedUsers, max_interests: int, sigma: float, generator: torch.Generator
) -> Float[Tensor, "users interests length"]:
    """Initial logits as the paper draws them: N(0, sigma²), anew at every call."""
    number, length = users.items.shape
    return sigma * torch.randn(number, max_interests, length, generator=generator)


def routing_with(
    bilinear_map: Float[Tensor, "dim dim"], config: RoutingConfig, **changes: object
) -> B2IRouting:
    """mindlib's routing with a given S, and with some fields of the configuration changed."""
    module = B2IRouting(
        len(bilinear_map),
        replace(config, **changes),  # pyright: ignore[reportArgumentType]
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        module.bilinear_map.copy_(bilinear_map)
    return module


@torch.no_grad()
def route_users(
    users: PlantedUsers,
    config: RoutingConfig,
    logits: Float[Tensor, "users interests length"],
) -> Capsules:
    """Routing with S = I. (Any rotation as S would give the same coupling.)"""
    module = routing_with(torch.eye(users.behaviors.shape[2]), config)
    return module(users.behaviors, users.mask, logits)


def recovered_clusters(
    weights: Float[Tensor, "users interests length"], clusters: Int[Tensor, "users length"]
) -> Bool[Tensor, "users clusters"]:
    """Which planted interests were found: some interest draws more than half its weight from it.

    It does not matter which axis the softmax ran over, nor how long the interest vectors are.
    """
    member = torch.nn.functional.one_hot(clusters).to(weights.dtype)
    total = weights.sum(2, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return ((weights @ member) / total > 0.5).any(1)


def recovery(
    users: PlantedUsers, config: RoutingConfig, logits: Float[Tensor, "users interests length"]
) -> Estimate:
    """How often routing finds *all* planted interests of a user."""
    weights = route_users(users, config, logits).coupling
    return share_estimate(recovered_clusters(weights, users.clusters).all(1))


def best_match(
    a: Float[Tensor, "users interests dim"],
    b: Float[Tensor, "users interests dim"],
    active: Bool[Tensor, "users interests"],
) -> Float[Tensor, " users"]:
    """How alike two sets of interests are: each one's cosine with its best match, averaged.

    1 if one set is the other in whatever order. Both directions count, so that no interest of
    either set goes unasked.
    """
    unit_a = torch.nn.functional.normalize(a, dim=2)
    unit_b = torch.nn.functional.normalize(b, dim=2)
    cosine = unit_a @ unit_b.transpose(1, 2)
    both = active[:, :, None] & active[:, None, :]
    cosine = cosine.masked_fill(~both, -torch.inf)
    best = torch.stack([cosine.amax(2), cosine.amax(1)])
    return best.masked_fill(~active, 0).sum((0, 2)) / (2 * active.sum(1))


def recovery_by_scale(
    scales: Iterable[float],
    configs: dict[str, RoutingConfig],
    *,
    draws: int,
    seed: int,
) -> dict[str, list[Estimate]]:
    """Recovery of planted interests as the embeddings grow: for each row an estimate a scale."""
    rows: dict[str, list[Estimate]] = {name: [] for name in configs}
    for scale in scales:
        generator = torch.Generator().manual_seed(seed)
        users = planted_users(draws, scale=scale, generator=generator)
        state = generator.get_state()
        for name, config in configs.items():
            generator.set_state(state)
            logits = random_logits(users, config.max_interests, config.sigma, generator)
            rows[name].append(recovery(users, config, logits))
    return rows


class Sorting(NamedTuple):
    """How a way to sort behaviours into interests does.

    Attributes:
        found: how often all planted interests of a user are found.
        cosine: between a user's interests.
        entropy: of an interest's weights.
    """

    found: Estimate
    cosine: Estimate
    entropy: Estimate


def sorting(
    users: PlantedUsers,
    weights: Float[Tensor, "users interests length"],
    vectors: Float[Tensor, "users interests dim"],
) -> Sorting:
    """The three numbers of weights and the vectors that they give; every interest is active."""
    active = torch.ones(weights.shape[:2], dtype=torch.bool)
    return Sorting(
        share_estimate(recovered_clusters(weights, users.clusters).all(1)),
        mean_estimate(interest_cosine(vectors, active)),
        mean_estimate(routing_entropy(weights, active)),
    )


def route_and_sort(
    users: PlantedUsers, config: RoutingConfig, logits: Float[Tensor, "users interests length"]
) -> Sorting:
    """Routing with S = I, in numbers."""
    capsules = route_users(users, config, logits)
    return sorting(users, capsules.coupling, capsules.vectors)


def perfect_sorting(users: PlantedUsers) -> Sorting:
    """An interest for each planted cluster, with all its behaviours and no others."""
    weights = torch.nn.functional.one_hot(users.clusters).mT.float()
    return sorting(users, weights, weights @ users.behaviors)


def kmeans_sorting(
    users: PlantedUsers, number: int, *, init: Literal["random", "k-means++"], seed: int
) -> Sorting:
    """K-means on each user's behaviours, from one start, until it stands still.

    Args:
        number: of means, as there are interests.
        init: whether it starts at random behaviours, or at some that are far apart.
    """
    weights = torch.zeros(len(users.items), number, users.items.shape[1])
    for user, behaviors in enumerate(users.behaviors):
        means = KMeans(number, init=init, n_init=1, random_state=seed + user)  # pyright: ignore[reportArgumentType]
        labels = torch.from_numpy(means.fit_predict(behaviors)).long()
        weights[user] = torch.nn.functional.one_hot(labels, number).mT
    return sorting(users, weights, weights @ users.behaviors)


def multiplications(config: RoutingConfig, length: int, dim: int) -> int:
    """Of Algorithm 1 for one user: r sums of behaviours, and r - 1 agreements with them.

    Either meets each behaviour with each interest, and applies S to the interests.
    """
    return (2 * config.iterations - 1) * config.max_interests * dim * (length + dim)
