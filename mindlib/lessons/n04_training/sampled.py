"""The sampled softmax taken apart (§3.5): what it estimates, and what it makes a model learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize
from torch import Tensor

from mindlib.evaluation import Estimate, mean_estimate
from mindlib.training.sampled_softmax import (
    NegativeSampler,
    Proposal,
    proposal_probabilities,
    sampled_softmax_loss,
)

CPU = torch.device("cpu")
Correction = Literal["mixture", "as drawn", "each its own", "none"]


@dataclass(frozen=True)
class Problem:
    """A catalogue that is small enough for the full softmax; row 0 is padding.

    Attributes:
        users, items: v_u and e_i.
        targets: the item of each user.
        counts: how often each item occurs in a log.
    """

    users: Float[Tensor, "users dim"]
    items: Float[Tensor, "items dim"]
    targets: Int[Tensor, " users"]
    counts: Int[np.ndarray, " items"]


def problem(*, num_items: int = 1000, users: int = 16, dim: int = 8, seed: int = 0) -> Problem:
    """Items with Zipf's popularity, which their vectors know of, as after some training.

    The targets are drawn from the model's own softmax: nothing is left to learn.
    """
    generator = torch.Generator().manual_seed(seed)
    popularity = 1 / torch.arange(1, num_items + 1, dtype=torch.float64)
    vectors = torch.randn(num_items, dim, generator=generator, dtype=torch.float64)
    vectors[:, 0] = popularity.log() - popularity.log().mean()
    v = 0.7 * torch.randn(users, dim, generator=generator, dtype=torch.float64)
    v[:, 0] = 0.8
    probabilities = (v @ vectors.T).softmax(1)
    targets = torch.multinomial(probabilities, 1, generator=generator)[:, 0] + 1
    counts = torch.cat([popularity.new_zeros(1), 10_000 * popularity]).round().long()
    return Problem(v, torch.cat([vectors.new_zeros(1, dim), vectors]), targets, counts.numpy())


class Draws(NamedTuple):
    """What repeated draws of negatives gave.

    Attributes:
        losses: the mean over the users.
        gradients: of that loss, by each user's vector.
    """

    losses: Float[Tensor, " draws"]
    gradients: Float[Tensor, "draws users dim"]


def full(given: Problem) -> tuple[float, Float[Tensor, "users dim"]]:
    """Loss and gradient with the sum over the whole catalogue (Eqs. 10-11)."""
    users = given.users.clone().requires_grad_()
    logits = users @ given.items[1:].T
    loss = torch.nn.functional.cross_entropy(logits, given.targets - 1)
    return loss.item(), torch.autograd.grad(loss, users)[0]


def sample(
    given: Problem,
    proposal: Proposal,
    n: int,
    *,
    logq: bool = True,
    hits_stay: bool = False,
    draws: int = 200,
    seed: int = 0,
) -> Draws:
    """mindlib's own loss with n negatives, drawn again and again.

    Args:
        logq: correct for how often each negative is drawn.
        hits_stay: leave a negative in that is the user's target itself.
    """
    generator = torch.Generator().manual_seed(seed)
    sampler = NegativeSampler(proposal_probabilities(proposal, given.counts), CPU)

    def negatives() -> tuple[Tensor, Tensor | None]:
        ids, log_expected = sampler.draw(n, generator)
        return ids, log_expected.double() if logq else None

    return _repeat(given, negatives, draws, hits_stay)


def sample_mixed(
    given: Problem,
    proposal: Proposal,
    n: int,
    batch: int,
    *,
    correction: Correction,
    draws: int = 200,
    seed: int = 0,
) -> Draws:
    """The same with n drawn negatives and the other targets of a batch.

    Args:
        batch: users in the batch; the others' targets come from the log's popularity.
        correction: "mixture" is mindlib's; "as drawn" takes all to come from the proposal, "each
            its own" corrects each negative for the way alone that it came in by.
    """
    generator = torch.Generator().manual_seed(seed)
    p = given.counts / given.counts.sum()
    q = torch.from_numpy(proposal_probabilities(proposal, given.counts))
    sampler = NegativeSampler(q.numpy(), CPU, p)
    share = torch.from_numpy(p)
    others = batch - len(given.targets)

    def negatives() -> tuple[Tensor, Tensor | None]:
        drawn, by_drawing = sampler.draw(n, generator)
        rest = torch.multinomial(share, others, replacement=True, generator=generator)
        ids, log_expected = sampler.add_in_batch(drawn, torch.cat([given.targets, rest]))
        if correction == "none":
            return ids, None
        if correction == "as drawn":
            log_expected = (len(ids) * q[ids]).log()
        elif correction == "each its own":
            log_expected = torch.cat([by_drawing, ((batch - 1) * share[ids[n:]]).log()])
        return ids, log_expected.double()

    return _repeat(given, negatives, draws, hits_stay=False)


def _repeat(given: Problem, negatives, draws: int, hits_stay: bool) -> Draws:
    losses, gradients = [], []
    own = torch.zeros_like(given.targets) if hits_stay else given.targets  # 0 is nobody's negative
    for _ in range(draws):
        ids, log_expected = negatives()
        users = given.users.clone().requires_grad_()
        loss = sampled_softmax_loss(
            users, given.items[given.targets], given.items[ids], own, ids, log_expected
        )
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, users)[0])
    return Draws(torch.stack(losses), torch.stack(gradients))


class Bias(NamedTuple):
    """How far the mean over the draws is from the full softmax.

    Attributes:
        loss: of the loss, with its interval.
        gradient: of the gradient, the length of the difference over the gradient's own length.
        luck: what `gradient` would be by the luck of these draws alone.
    """

    loss: Estimate
    gradient: float
    luck: float


def bias(given: Problem, drawn: Draws) -> Bias:
    """Compare draws with the full softmax."""
    loss, gradient = full(given)
    difference = drawn.gradients.mean(0) - gradient
    spread = drawn.gradients.var(0, correction=1).sum() / len(drawn.gradients)
    length = gradient.norm()
    return Bias(
        mean_estimate(drawn.losses - loss),
        float(difference.norm() / length),
        float(spread.sqrt() / length),
    )


def learnt(
    p: Float[np.ndarray, " items"],
    q: Float[np.ndarray, " items"],
    n: int,
    *,
    logq: bool = True,
    hits_stay: bool = False,
) -> Float[np.ndarray, " items"]:
    """What a model that can score each item freely makes of a distribution p of targets.

    It minimises the loss of n negatives from q, each item counted as often as is expected. With the
    correction an item counts once, without it n q times.

    Returns:
        the softmax of the best scores. It is p where the loss is right.
    """
    times = np.ones_like(p) if logq else n * q
    weights = np.tile(times, (len(p), 1))
    np.fill_diagonal(weights, 1 + times if hits_stay else 1.0)

    def loss(scores: np.ndarray) -> tuple[float, np.ndarray]:
        terms = weights * np.exp(scores)
        whole = terms.sum(1)
        return float(p @ (np.log(whole) - scores)), (p / whole) @ terms - p

    found = minimize(loss, np.log(p), jac=True, method="BFGS", options={"gtol": 1e-9})
    learnt = np.exp(found.x - found.x.max())
    return learnt / learnt.sum()
