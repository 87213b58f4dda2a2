"""What §3.3.2 leaves open: how many interests, where the masks go, which way the gradient takes."""

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
from mindlib.layers.routing import (
    Capsules,
    RoutingConfig,
    SoftmaxOver,
    compute_coupling,
    num_interests,
    squash,
)
from mindlib.lessons.n02_b2i.routing_trials import (
    PlantedUsers,
    planted_users,
    random_logits,
    route_users,
    routing_with,
)

# Two interests with a greater cosine retrieve much the same items.
TWINS = 0.9


class Crowd(NamedTuple):
    """What becomes of a user's interests when there are many for few behaviours.

    Attributes:
        interests: how many the users have.
        twins: how often two of them point the same way, with a cosine above TWINS.
        emptiest: the total weight, in behaviours, of the interest that gets least.
    """

    interests: int
    twins: Estimate
    emptiest: Estimate


def crowd(users: PlantedUsers, config: RoutingConfig, *, behaviors: int, seed: int) -> Crowd:
    """Route so many behaviours of each user, taken at random."""
    generator = torch.Generator().manual_seed(seed)
    few = users.shuffled(generator).window(0, behaviors)
    logits = random_logits(few, config.max_interests, config.sigma, generator)
    capsules = route_users(few, config, logits)
    number = int(capsules.active[0].sum())
    unit = torch.nn.functional.normalize(capsules.vectors[:, :number], dim=2)
    cosine = (unit @ unit.mT).triu(diagonal=1).amax((1, 2))
    weight = capsules.coupling[:, :number].sum(2).amin(1)
    return Crowd(number, share_estimate(cosine > TWINS), mean_estimate(weight))


class Saving(NamedTuple):
    """What Eq. 9 saves against K interests for everybody.

    Attributes:
        max_interests: K.
        mean: the average K'_u.
        searches: the share of the retrieval searches (and of the stored vectors) saved.
        routing: the share of routing's multiplications saved, which grow with K'_u times the
            number of behaviours.
    """

    max_interests: int
    mean: float
    searches: float
    routing: float


def saving(lengths: Int[Tensor, " users"], max_interests: int) -> Saving:
    """The saving over a distribution of history lengths, as far as routing sees them."""
    number = num_interests(lengths, max_interests).double()
    size = lengths.double()
    return Saving(
        max_interests,
        float(number.mean()),
        float(1 - number.mean() / max_interests),
        float(1 - (number * size).sum() / (max_interests * size.sum())),
    )


class Masked(NamedTuple):
    """What a mask leaves of a user.

    Attributes:
        arrives: of the weight that is handed out (1 by each behaviour, or 1 by each of her
            interests, as the softmax runs), the share that reaches a behaviour and an interest
            that are there.
        length: the mean length of her interests.
    """

    arrives: Estimate
    length: Estimate


def route_masked(
    users: PlantedUsers,
    logits: Float[Tensor, "users interests length"],
    *,
    padding: int,
    unused: int,
    softmax_over: SoftmaxOver,
    mask_first: bool,
    iterations: int = 3,
) -> Masked:
    """Route in a window with places that hold no behaviour, and interests that nobody has; S = I.

    Args:
        padding: the number of unused places, behind the behaviours.
        unused: the number of interests, the last ones, that these users do not have.
        mask_first: mask before the softmax, or only after it.
    """
    pad = torch.nn.functional.pad
    number = logits.shape[1] - unused
    behaviors = pad(users.behaviors, (0, 0, 0, padding))
    places = pad(users.mask, (0, padding))[:, None, :]
    logits = pad(logits, (0, padding))
    absent = ~(places & (torch.arange(logits.shape[1]) < number)[:, None])
    weights, interests = logits, logits @ behaviors
    for _ in range(iterations):
        if mask_first:
            weights = compute_coupling(logits, absent, softmax_over)
        else:
            weights = logits.softmax(1 if softmax_over == "interests" else 2)
            weights = weights.masked_fill(absent, 0)
        interests = squash(weights @ behaviors)
        logits = logits + interests @ behaviors.transpose(1, 2)
    handed_out = users.items.shape[1] if softmax_over == "interests" else number
    return Masked(
        mean_estimate(weights.sum((1, 2)) / handed_out),
        mean_estimate(interests[:, :number].norm(dim=2).mean(1)),
    )


def gradient_cosines(
    users: PlantedUsers,
    config: RoutingConfig,
    logits: Float[Tensor, "users interests length"],
    *,
    generator: torch.Generator,
) -> Float[Tensor, " users"]:
    """For each user: how alike are the gradients of S, through the last sum and through all?

    The loss is the inner product of the interest that likes a random label most with that label.
    """
    dim = users.behaviors.shape[2]
    labels = torch.nn.functional.normalize(
        torch.randn(len(users.items), dim, generator=generator), dim=1
    )
    last = routing_with(torch.eye(dim), config, gradient="last")
    every = routing_with(torch.eye(dim), config, gradient="all")
    cosines = []
    for user in range(len(users.items)):
        one = slice(user, user + 1)
        gradients = []
        for module in (last, every):
            interests = module(users.behaviors[one], users.mask[one], logits[one]).vectors
            score = (interests @ labels[one, :, None]).amax()
            (gradient,) = torch.autograd.grad(score, [module.bilinear_map])
            gradients.append(gradient.flatten())
        cosines.append(torch.nn.functional.cosine_similarity(*gradients, dim=0))
    return torch.stack(cosines)


class Diagnosis(NamedTuple):
    """A population's two thermometers.

    Attributes:
        capsules: what routing made of each user.
        cosine: between interests; near 1 is interest collapse.
        entropy: of the weights; near 0 is routing collapse.
    """

    capsules: Capsules
    cosine: Estimate
    entropy: Estimate


def diagnose(config: RoutingConfig, *, scale: float, draws: int, seed: int) -> Diagnosis:
    """Route planted users with embeddings of a given length, and take both temperatures."""
    generator = torch.Generator().manual_seed(seed)
    users = planted_users(draws, scale=scale, generator=generator)
    logits = random_logits(users, config.max_interests, config.sigma, generator)
    capsules = route_users(users, config, logits)
    return Diagnosis(
        capsules,
        mean_estimate(interest_cosine(capsules.vectors, capsules.active)),
        mean_estimate(routing_entropy(capsules.coupling, capsules.active)),
    )
