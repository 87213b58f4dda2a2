"""How routing starts (§3.3.2): what σ does, and what a user gets at her second request."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.evaluation import (
    Estimate,
    interest_cosine,
    mean_estimate,
    routing_entropy,
    share_estimate,
)
from mindlib.layers.initial_logits import farthest_point_logits, gaussian_logits
from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n02_b2i.routing_trials import (
    PlantedUsers,
    best_match,
    random_logits,
    recovered_clusters,
    route_users,
)


class Draw(NamedTuple):
    """What comes of the initial logits N(0, sigma²).

    Attributes:
        found: how often all planted interests of a user are found.
        unmoved: the share of behaviours that end with the interest that the draw gave them to.
        alike: the best-match cosine of a user's interests from two draws.
        mean_alike: the same of her interests and the mean of her behaviours, the floor of `alike`.
        reach: the furthest that a logit moved, as a share of the bound (r - 1) |S e|.
    """

    found: Estimate
    unmoved: Estimate
    alike: Estimate
    mean_alike: Estimate
    reach: float


def draw_study(users: PlantedUsers, config: RoutingConfig, generator: torch.Generator) -> Draw:
    """Route each user twice, from two draws; S = I."""
    first, second = (
        random_logits(users, config.max_interests, config.sigma, generator) for _ in range(2)
    )
    one, two = (route_users(users, config, logits) for logits in (first, second))
    mean = users.behaviors.mean(1, keepdim=True).expand_as(one.vectors)
    bound = (config.iterations - 1) * users.behaviors.norm(dim=2)[:, None]
    return Draw(
        share_estimate(recovered_clusters(one.coupling, users.clusters).all(1)),
        mean_estimate((one.logits.argmax(1) == first.argmax(1)).float().mean(1)),
        mean_estimate(best_match(one.vectors, two.vectors, one.active)),
        mean_estimate(best_match(one.vectors, mean, one.active)),
        float(((one.logits - first).abs() / bound).max()),
    )


def initial_logits(
    kind: str,
    items: Int[Tensor, "users length"],
    config: RoutingConfig,
    seed: int,
    generator: torch.Generator,
) -> Float[Tensor, "users interests length"]:
    """The field's ways to start routing: "redrawn", "by position" or "by item".

    Args:
        kind: redrawn at every call; one draw for each position of the window, kept for ever and
            shared by all users; or derived from the item, as mindlib does in evaluation.
        seed: of what is kept.
        generator: of what is redrawn.
    """
    shape = (len(items), config.max_interests, items.shape[1])
    if kind == "redrawn":
        return config.sigma * torch.randn(shape, generator=generator)
    if kind == "by position":
        kept = torch.randn(shape[1:], generator=torch.Generator().manual_seed(seed))
        return (config.sigma * kept).expand(shape)
    if kind == "by item":
        return gaussian_logits(items, config.max_interests, sigma=config.sigma, seed=seed)
    raise ValueError(f"kind={kind!r}: expected 'redrawn', 'by position' or 'by item'")


def own_logits(
    users: PlantedUsers, config: RoutingConfig, generator: torch.Generator
) -> Float[Tensor, "users interests length"]:
    """The start that a configuration asks for, with S = I: noise, or behaviours far apart."""
    if config.initial_logits == "gaussian":
        return random_logits(users, config.max_interests, config.sigma, generator)
    return farthest_point_logits(
        users.behaviors,
        users.mask,
        config.max_interests,
        inverse_temperature=config.inverse_temperature,
    )


def with_strays(users: PlantedUsers, strays: int, generator: torch.Generator) -> PlantedUsers:
    """Each user has done some things of no kind too: random directions, as long as the others.

    Their cluster is one more than the planted ones.
    """
    number, _, dim = users.behaviors.shape
    directions = torch.randn(number, strays, dim, generator=generator)
    length = users.behaviors[0, 0].norm()
    odd = length * torch.nn.functional.normalize(directions, dim=2)
    kind = (users.clusters.max() + 1).expand(number, strays)
    ids = users.items.max() + 1 + torch.arange(number * strays).reshape(number, strays)
    return PlantedUsers(
        torch.cat([users.behaviors, odd], dim=1),
        torch.cat([users.clusters, kind], dim=1),
        torch.cat([users.items, ids], dim=1),
    )


class Knowledge(NamedTuple):
    """What comes of a start, whatever it knows.

    Attributes:
        found: how often all planted interests of a user are found.
        cosine: between a user's interests.
        entropy: of an interest's weights.
        step: how alike her interests are after an ordinary step: her oldest behaviour has left the
            window, and a new one has come in.
    """

    found: Estimate
    cosine: Estimate
    entropy: Estimate
    step: Estimate


def knowledge(
    users: PlantedUsers, config: RoutingConfig, generator: torch.Generator, *, strays: int = 0
) -> Knowledge:
    """Route planted users, with strays if there are any, from the start of a configuration."""
    kinds = int(users.clusters.max()) + 1
    everything = with_strays(users, strays, generator).shuffled(generator)
    one = route_users(everything, config, own_logits(everything, config, generator))
    found = recovered_clusters(one.coupling, everything.clusters)[:, :kinds]
    size = everything.items.shape[1] - 1
    requests = [everything.window(first, size) for first in (0, 1)]
    before, after = (route_users(r, config, own_logits(r, config, generator)) for r in requests)
    return Knowledge(
        share_estimate(found.all(1)),
        mean_estimate(interest_cosine(one.vectors, one.active)),
        mean_estimate(routing_entropy(one.coupling, one.active)),
        mean_estimate(best_match(before.vectors, after.vectors, before.active)),
    )


class SecondRequest(NamedTuple):
    """How alike a user's interests are at a second request, and whether they were right.

    Attributes:
        same: the history has not changed.
        order: the same behaviours come in another order.
        step: the oldest behaviour has left the window and a new one has come in.
        found: how often all planted interests of a user are found.
        by_seed: the same for each seed of the logits.
    """

    same: Estimate
    order: Estimate
    step: Estimate
    found: Estimate
    by_seed: list[float]


def second_request(
    kind: str, users: PlantedUsers, config: RoutingConfig, *, seeds: int
) -> SecondRequest:
    """Ask twice for each user, with many seeds of the logits; a user's values are averaged.

    Each user's behaviours come in an order of her own. (In the order of the clusters, logits by
    position would give all users the luck of the one draw.) The window holds all but one.
    """
    generator = torch.Generator().manual_seed(0)
    number = users.items.shape[1] - 1
    everything = users.shuffled(generator)
    before, after = everything.window(0, number), everything.window(1, number)
    requests = {"same": before, "order": before.shuffled(generator), "step": after}
    alike: dict[str, list[Tensor]] = {name: [] for name in requests}
    found = []
    for seed in range(seeds):
        start = initial_logits(kind, before.items, config, seed, generator)
        first = route_users(before, config, start)
        found.append(recovered_clusters(first.coupling, before.clusters).all(1))
        for name, request in requests.items():
            logits = initial_logits(kind, request.items, config, seed, generator)
            second = route_users(request, config, logits)
            alike[name].append(best_match(first.vectors, second.vectors, first.active))
    rates = torch.stack(found).float()
    return SecondRequest(
        same=mean_estimate(torch.stack(alike["same"]).mean(0)),
        order=mean_estimate(torch.stack(alike["order"]).mean(0)),
        step=mean_estimate(torch.stack(alike["step"]).mean(0)),
        found=mean_estimate(rates.mean(0)),
        by_seed=rates.mean(1).tolist(),
    )
