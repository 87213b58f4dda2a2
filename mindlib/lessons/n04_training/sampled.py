"""The bias of a sampled softmax loss, and the shares that it teaches (§3.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

from mindlib.evaluation import Estimate, mean_estimate
from mindlib.training.sampled_softmax import NegativeSampler, Proposal, proposal_probabilities

# (label_score, scores, label, negatives, log_expected) -> loss, as the notebook defines it.
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """A catalog that is small enough for the full softmax; row 0 is padding.

    The user vectors, the item vectors, the target of each user, and the count of each item.
    """

    users: Float[Tensor, "users dim"]
    items: Float[Tensor, "items dim"]
    targets: Int[Tensor, " users"]
    counts: Int[np.ndarray, " items"]


def zipf_problem(*, num_items: int = 1000, users: int = 16, dim: int = 8) -> Problem:
    """Make items of Zipf's popularity, whose vectors reflect it as after some training.

    The targets are sampled from the softmax of the scores themselves.
    """
    generator = torch.Generator().manual_seed(0)
    popularity = 1 / torch.arange(1, num_items + 1, dtype=torch.float64)
    vectors = torch.randn(num_items, dim, generator=generator, dtype=torch.float64)
    vectors[:, 0] = popularity.log() - popularity.log().mean()
    v = 0.7 * torch.randn(users, dim, generator=generator, dtype=torch.float64)
    v[:, 0] = 0.8
    probabilities = (v @ vectors.T).softmax(1)
    targets = torch.multinomial(probabilities, 1, generator=generator)[:, 0] + 1
    counts = torch.cat([popularity.new_zeros(1), 10_000 * popularity]).round().long()
    return Problem(v, torch.cat([vectors.new_zeros(1, dim), vectors]), targets, counts.numpy())


class Bias(NamedTuple):
    """The difference between the mean of sampled losses and the full softmax.

    Attributes:
        loss: the difference of the losses, in nats.
        gradient: the norm of the difference of the gradients, relative to the full gradient's norm.
        noise: the expected value of `gradient` for an unbiased estimate from as many samples.
    """

    loss: Estimate
    gradient: float
    noise: float


def measure_bias(
    loss: Loss,
    given: Problem,
    proposal: Proposal,
    n: int,
    *,
    logq: bool = True,
    samples: int = 200,
) -> Bias:
    """Compare a sampled loss and its gradient with the full softmax (Eqs. 10-11).

    Args:
        loss: the sampled softmax loss.
        proposal: the distribution of the negatives.
        n: the number of negatives.
        logq: whether log(n q) is subtracted from the logits of the negatives.
        samples: the number of repetitions.
    """
    generator = torch.Generator().manual_seed(0)
    q = proposal_probabilities(proposal, given.counts)
    sampler = NegativeSampler(q, torch.device("cpu"))

    def sampled(users: Tensor) -> Tensor:
        negatives, log_expected = sampler.draw(n, generator)
        own = (users * given.items[given.targets]).sum(1)
        shift = log_expected if logq else torch.zeros(n)
        return loss(own, users @ given.items[negatives].T, given.targets, negatives, shift)

    def full(users: Tensor) -> Tensor:
        return F.cross_entropy(users @ given.items[1:].T, given.targets - 1)

    exact, exact_gradient = _differentiate(full, given.users)
    pairs = [_differentiate(sampled, given.users) for _ in range(samples)]
    losses, gradients = (torch.stack(part) for part in zip(*pairs, strict=True))
    variance = gradients.var(0, correction=1).sum() / samples
    length = exact_gradient.norm()
    return Bias(
        mean_estimate(losses - exact),
        float((gradients.mean(0) - exact_gradient).norm() / length),
        float(variance.sqrt() / length),
    )


def _differentiate(
    function: Callable[[Tensor], Tensor], users: Float[Tensor, "users dim"]
) -> tuple[Tensor, Tensor]:
    users = users.clone().requires_grad_()
    value = function(users)
    return value.detach(), torch.autograd.grad(value, users)[0]


def learned_shares(
    p: Float[np.ndarray, " items"],
    q: Float[np.ndarray, " items"],
    n: int,
    *,
    logq: bool = True,
    hits_stay: bool = False,
) -> Float[np.ndarray, " items"]:
    """Compute the softmax of the scores that minimize the loss, for free scores of each item.

    The sum over the negatives is replaced by its mean over samples: with the correction an item
    counts once, without it n q times. The result is p if the loss is right.

    Args:
        p: the distribution of the targets.
        q, n: the distribution and the number of the negatives.
        logq: whether the negatives are corrected.
        hits_stay: whether accidental hits are left in.
    """
    times = np.ones_like(p) if logq else n * q
    weights = np.tile(times, (len(p), 1))
    np.fill_diagonal(weights, 1 + times if hits_stay else 1.0)

    def loss(scores: np.ndarray) -> tuple[float, np.ndarray]:
        terms = weights * np.exp(scores)
        whole = terms.sum(1)
        return float(p @ (np.log(whole) - scores)), (p / whole) @ terms - p

    found = minimize(loss, np.log(p), jac=True, method="BFGS", options={"gtol": 1e-9})
    shares = np.exp(found.x - found.x.max())
    return shares / shares.sum()
