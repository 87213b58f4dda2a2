"""The sampled softmax (Eqs. 10-11) and the distributions of its negatives (§3.5)."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.splits import Cases
from mindlib.training.config import Proposal


def proposal_probabilities(
    proposal: Proposal, counts: Int[np.ndarray, " items"], alpha: float = 0.75
) -> Float[np.ndarray, " items"]:
    """Return q, the probability of each item as a negative; entry 0 (padding) is 0.

    Every item has a positive probability, because the sampled softmax estimates a sum over the
    whole catalogue.

    Args:
        proposal: see `TrainingConfig`.
        counts: the number of training events of each item; entry 0 is ignored.
        alpha: the exponent of the counts with proposal="popularity".
    """
    if proposal == "uniform":
        weights = np.ones(len(counts) - 1)
    elif proposal == "log-uniform":
        rank = np.empty(len(counts) - 1)
        rank[np.argsort(-counts[1:], kind="stable")] = np.arange(len(counts) - 1)
        weights = np.log((rank + 2) / (rank + 1))
    else:
        weights = np.maximum(counts[1:], 1).astype(np.float64) ** alpha
    return np.r_[0, weights / weights.sum()]


def target_probabilities(cases: Cases) -> Float[np.ndarray, " items"]:
    """Return p, the probability of each item as the target of a training pair; entry 0 is 0.

    A training pair is a uniformly sampled case with one of its targets, also sampled uniformly.
    Therefore each item in a basket of ten counts a tenth.
    """
    sizes = cases.offsets.diff().cpu().numpy()
    share = np.repeat(1 / sizes, sizes) / len(sizes)
    return np.bincount(cases.targets.cpu().numpy(), weights=share, minlength=cases.num_items + 1)


class NegativeSampler:
    """Sample negatives with replacement, by binary search in the cumulative probabilities.

    Args:
        probabilities: q, see `proposal_probabilities`.
        device: the device of the samples.
        targets: p, see `target_probabilities`; only needed by `add_in_batch`.
    """

    def __init__(
        self,
        probabilities: Float[np.ndarray, " items"],
        device: torch.device,
        targets: Float[np.ndarray, " items"] | None = None,
    ) -> None:
        cumulative = np.cumsum(probabilities[1:])
        self._cumulative = torch.from_numpy(cumulative / cumulative[-1]).to(device)
        self._log_q = torch.from_numpy(np.log(probabilities[1:])).to(torch.float32).to(device)
        self._p = None if targets is None else torch.from_numpy(targets[1:]).float().to(device)

    def draw(
        self, n: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """Sample n item ids; return them and the logarithms of their expected counts, log(n q)."""
        uniform = torch.rand(
            n, generator=generator, dtype=torch.float64, device=self._cumulative.device
        )
        index = torch.searchsorted(self._cumulative, uniform, right=True)
        index = index.clamp_(max=len(self._cumulative) - 1)
        return index + 1, self._log_q[index] + math.log(n)

    def add_in_batch(
        self, sampled: Int[Tensor, " n"], in_batch: Int[Tensor, " batch"]
    ) -> tuple[Int[Tensor, " n_plus_batch"], Float[Tensor, " n_plus_batch"]]:
        """Append the targets of the batch to the sampled negatives.

        Return the item ids and the logarithms of their expected counts. The expected count of an
        item is n q + (batch - 1) p, from whichever source it came, because the targets of the
        batch - 1 other users have the distribution p instead of q. (A user's own target is an
        accidental hit, which the loss removes.)

        Args:
            sampled: the item ids of the sampled negatives.
            in_batch: the item ids of the targets of the batch.

        Raises:
            ValueError: the sampler was created without `targets`.
        """
        if self._p is None:
            raise ValueError(
                "in-batch negatives need the target distribution p; create the sampler with "
                "targets=target_probabilities(cases)"
            )
        ids = torch.cat([sampled, in_batch])
        q, p = self._log_q[ids - 1].exp(), self._p[ids - 1]
        return ids, (len(sampled) * q + (len(in_batch) - 1) * p).log()


def sampled_softmax_loss(
    users: Float[Tensor, "batch dim"],
    targets: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "n dim"],
    target_ids: Int[Tensor, " batch"],
    negative_ids: Int[Tensor, " n"],
    log_expected: Float[Tensor, " n"] | None,
) -> Float[Tensor, ""]:
    """Compute the mean loss -log Pr(i | u) (Eqs. 10-11), estimated from sampled negatives.

    The denominator is exp(v'e_i) + sum over j != i of exp(v'e_j). Negatives sampled with
    probability q give the unbiased estimate sum exp(v'e_j) / (n q_j) of the second term; in
    logits this is the logQ correction -log(n q_j). A negative that equals the target is an
    accidental hit. It is left out, because the target is already the first term.

    Args:
        users: the user vectors v_u, from label-aware attention with the target.
        targets, negatives: the item embeddings of the targets and negatives.
        target_ids, negative_ids: their item ids.
        log_expected: log(n q_j), the logarithm of each negative's expected count; None for no
            correction.
    """
    hits = target_ids[:, None] == negative_ids
    shift = torch.zeros_like(negatives[:, 0]) if log_expected is None else -log_expected
    return _SampledSoftmax.apply(users, targets, negatives, hits, shift)


class _SampledSoftmax(torch.autograd.Function):
    """Sampled softmax loss with a gradient in closed form, which saves memory.

    The loss is the mean of logsumexp([v'e_i, v'e_j + shift_j]) - v'e_i over the negatives j that
    are not accidental hits. Autograd would store several batch x negatives matrices for it, whereas
    the closed form of the gradient needs only one.
    """

    @staticmethod
    def forward(ctx, users, targets, negatives, hits, shift):  # type: ignore[override]
        logits = users.new_empty(len(users), 1 + len(negatives))
        torch.sum(users * targets, dim=1, out=logits[:, 0])
        torch.addmm(shift, users, negatives.T, out=logits[:, 1:])
        logits[:, 1:].masked_fill_(hits, -torch.inf)
        log_probability = torch.log_softmax(logits, dim=1)
        ctx.save_for_backward(users, targets, negatives, log_probability)
        return -log_probability[:, 0].mean()

    @staticmethod
    def backward(ctx, *gradient):  # type: ignore[override]
        users, targets, negatives, log_probability = ctx.saved_tensors
        slope = log_probability.exp_()
        slope[:, 0] -= 1
        slope *= gradient[0] / len(users)
        own, others = slope[:, :1], slope[:, 1:]
        by_user = torch.addmm(own * targets, others, negatives)
        return by_user, own * users, others.T @ users, None, None
