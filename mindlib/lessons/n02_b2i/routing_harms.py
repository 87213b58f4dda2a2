"""What the exhibits of the bug museum do to users: where each one's harm shows, in numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.evaluation import Estimate, mean_estimate, share_estimate
from mindlib.layers.routing import Capsules
from mindlib.lessons.n02_b2i.routing_museum import MUSEUM, Routing
from mindlib.lessons.n02_b2i.routing_properties import in_batches
from mindlib.lessons.n02_b2i.routing_trials import PlantedUsers, best_match, recovered_clusters


class Shown(NamedTuple):
    """One exhibit at work on planted users, in a window with padding.

    Attributes:
        found: how often all planted interests of a user are found.
        alike: the best-match cosine with mindlib's own interests.
        length: the mean length of an interest.
        coupling: the last user's weights, her behaviours by cluster and the padding last.
    """

    found: Estimate
    alike: Estimate
    length: float
    coupling: Float[Tensor, "interests places"]


def gallery(users: PlantedUsers, *, padding: int, size: int) -> dict[str, Shown]:
    """mindlib's own routing and every exhibit, `size` users at a call; padding embeds to zeros."""
    pad = torch.nn.functional.pad
    request = (
        pad(users.items, (0, padding)),
        pad(users.behaviors, (0, 0, 0, padding)),
        pad(users.mask, (0, padding)),
    )
    number = users.items.shape[1]
    order = torch.cat(
        [users.clusters[-1].argsort(stable=True), torch.arange(number, number + padding)]
    )
    reference = in_batches(Routing(), *request, size=size)
    makers: dict[str, Callable[[], Routing]] = {"mindlib's own": Routing}
    shown = {}
    for name, make in (makers | {exhibit.name: exhibit.make for exhibit in MUSEUM}).items():
        answer = in_batches(make(), *request, size=size)
        found = recovered_clusters(answer.coupling[:, :, :number], users.clusters).all(1)
        shown[name] = Shown(
            share_estimate(found),
            mean_estimate(best_match(answer.vectors, reference.vectors, reference.active)),
            float(answer.vectors.norm(dim=2).mean()),
            answer.coupling[-1][:, order],
        )
    return shown


class Harm(NamedTuple):
    """A situation in which an exhibit does what it should not.

    Attributes:
        situation: two calls that ought to agree, or a weight that ought to be there.
        alike: the best-match cosine of the interests, which ought to be 1.
    """

    exhibit: str
    situation: str
    alike: Estimate


def harms(users: PlantedUsers, generator: torch.Generator) -> list[Harm]:
    """For exhibits whose harm a full window does not show: a pair of calls, and how they agree."""
    make = {exhibit.name: exhibit.make for exhibit in MUSEUM}
    request = users.items, users.behaviors, users.mask
    places = users.items.shape[1] // 2
    pad = torch.nn.functional.pad
    items, mask = pad(users.items, (0, places)), pad(users.mask, (0, places))
    scale = users.behaviors.norm(dim=2).mean()
    noise = torch.randn(len(items), places, users.behaviors.shape[2], generator=generator)
    vectors = scale * torch.nn.functional.normalize(noise, dim=2)
    zeros, noisy = (
        make["padding gets 1/K"]()(items, torch.cat([users.behaviors, filling], dim=1), mask)
        for filling in (torch.zeros_like(vectors), vectors)
    )
    summed, keeper = make["logits summed over the batch"](), make["logits kept between calls"]()
    alone, among = (in_batches(summed, *request, size=size) for size in (1, 100))
    visits = [keeper(*request) for _ in range(2)]
    other = users.shuffled(generator)
    fixed = make["logits fixed by position"]()
    ordered, reordered = (fixed(u.items, u.behaviors, u.mask) for u in (users, other))
    return [
        Harm(
            "padding gets 1/K", "padding that embeds to zeros, or to a vector", _alike(zeros, noisy)
        ),
        Harm("logits summed over the batch", "alone, or among a hundred", _alike(alone, among)),
        Harm("logits kept between calls", "a first visit and a second", _alike(*visits)),
        Harm(
            "logits fixed by position", "the same set in another order", _alike(ordered, reordered)
        ),
    ]


def _alike(a: Capsules, b: Capsules) -> Estimate:
    return mean_estimate(best_match(a.vectors, b.vectors, a.active))


def lost_weight(users: PlantedUsers, *, behaviors: int, iterations: int) -> Estimate:
    """What a light user's behaviours lose where unused interests take part in the softmax."""
    few = users.window(0, behaviors)
    (make,) = (e.make for e in MUSEUM if e.name == "unused interests share")
    exhibit = make()
    exhibit.iterations = iterations
    weights = exhibit(few.items, few.behaviors, few.mask).coupling
    return mean_estimate(1 - weights.sum(1).mean(1))
