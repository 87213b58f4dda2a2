"""Dynamic routing watched from iteration to iteration, and planted votes to measure it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

Route = Callable[[Tensor, int], tuple[Tensor, Tensor]]


class Iterations(NamedTuple):
    """The state of routing in each iteration.

    Attributes:
        logits: b, less each behavior's mean over the interests, which the softmax ignores.
        weights: w, the coupling coefficients.
        capsules: u, the squashed sums.
    """

    logits: Float[Tensor, "iterations *batch interests behaviors"]
    weights: Float[Tensor, "iterations *batch interests behaviors"]
    capsules: Float[Tensor, "iterations *batch interests dim"]


def follow(
    route: Route, votes: Float[Tensor, "*batch interests behaviors dim"], r: int
) -> Iterations:
    """Record iterations 1 to r of a function `route(votes, r)` that returns capsules and weights.

    The function is called once for each iteration, so that an edited version of it can be followed.
    """
    runs = [route(votes, t) for t in range(1, r + 1)]
    capsules, weights = (torch.stack(parts) for parts in zip(*runs, strict=True))
    logits = weights.clamp(min=1e-30).log()
    return Iterations(logits - logits.mean(-2, keepdim=True), weights, capsules)


def planted_votes(draws: int, generator: torch.Generator) -> Float[Tensor, "draws 3 12 8"]:
    """Draw votes of three groups of four low-level capsules for three high-level capsules.

    The members of group j agree in their votes for capsule j, up to noise of 0.3 times the norm.
    Their votes for the other capsules have random directions. All votes have a norm of about 2.
    """
    votes = 2 * normalize(torch.randn(draws, 3, 12, 8, generator=generator), dim=3)
    centers = 2 * normalize(torch.randn(draws, 3, 1, 8, generator=generator), dim=3)
    own = centers + 0.6 / 8**0.5 * torch.randn(draws, 3, 4, 8, generator=generator)
    for group in range(3):
        votes[:, group, 4 * group : 4 * group + 4] = own[:, group]
    return votes


def settled(
    seen: Iterations,
) -> tuple[Bool[Tensor, "iterations draws"], Bool[Tensor, "iterations draws"]]:
    """Return whether all capsules, and all weights, are near those of the last iteration.

    This means that all cosines are above 0.95, and that all differences are below 0.05.
    """
    near = cosine_similarity(seen.capsules, seen.capsules[-1:], dim=3).amin(2) > 0.95
    return near, (seen.weights - seen.weights[-1]).abs().amax((2, 3)) < 0.05
