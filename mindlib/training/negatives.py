"""The sampled softmax of Eqs. 10-11 (§3.5), and where its negatives come from."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.splits import Cases

Proposal = Literal["uniform", "log-uniform", "popularity"]


def proposal_probabilities(
    proposal: Proposal, counts: Int[np.ndarray, " items"], alpha: float = 0.75
) -> Float[np.ndarray, " items"]:
    """q, with which each item is drawn as a negative; entry 0 (padding) is 0.

    Every item has a positive probability, for the sampled softmax estimates a sum over all items.

    Args:
        counts: how often each item occurs in the training events; entry 0 is ignored.
        alpha: exponent of "popularity".
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
    """p, with which each item is the target of a training pair; entry 0 (padding) is 0.

    A pair is a case drawn evenly, and one of its targets drawn evenly: an item of a basket of ten
    counts a tenth.
    """
    sizes = cases.offsets.diff().cpu().numpy()
    share = np.repeat(1 / sizes, sizes) / len(sizes)
    return np.bincount(cases.targets.cpu().numpy(), weights=share, minlength=cases.num_items + 1)


class NegativeSampler:
    """Draws negatives with replacement, in time that hardly depends on the catalogue's size.

    Args:
        probabilities: q, see `proposal_probabilities`.
        targets: p, see `target_probabilities`; needed by `add_in_batch` only.
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
        """n item ids, and the logarithm of how often each is expected among them, log(n q)."""
        uniform = torch.rand(
            n, generator=generator, dtype=torch.float64, device=self._cumulative.device
        )
        index = torch.searchsorted(self._cumulative, uniform, right=True)
        index = index.clamp_(max=len(self._cumulative) - 1)
        return index + 1, self._log_q[index] + math.log(n)

    def add_in_batch(
        self, drawn: Int[Tensor, " n"], in_batch: Int[Tensor, " batch"]
    ) -> tuple[Int[Tensor, " n_plus_batch"], Float[Tensor, " n_plus_batch"]]:
        """Drawn negatives and the batch's targets, each expected log(n q + (batch - 1) p) times.

        The others' targets are negatives of a user that cost nothing to gather. They come from p
        and not from q. Whichever way an item came in, what counts is how often it was to be
        expected: n times q by drawing, and p times for each of the batch - 1 other users. (A
        user's own target is an accidental hit, and is taken out by the loss.)

        Raises:
            ValueError: the sampler was made without p.
        """
        if self._p is None:
            raise ValueError("the sampler does not know p; give it `target_probabilities`")
        ids = torch.cat([drawn, in_batch])
        q, p = self._log_q[ids - 1].exp(), self._p[ids - 1]
        return ids, (len(drawn) * q + (len(in_batch) - 1) * p).log()


def sampled_softmax_loss(
    users: Float[Tensor, "batch dim"],
    targets: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "n dim"],
    target_ids: Int[Tensor, " batch"],
    negative_ids: Int[Tensor, " n"],
    log_expected: Float[Tensor, " n"] | None,
) -> Float[Tensor, ""]:
    """-log Pr(i | u) (Eqs. 10-11), with the sum over the catalogue estimated from negatives.

    The denominator is exp(v'e_i) + sum over j != i of exp(v'e_j). Of the second part, negatives
    drawn with probability q give the unbiased estimate sum exp(v'e_j) / (n q_j): in logits, the
    correction -log(n q_j). A negative that is the target itself is an accidental hit: it must not
    be counted, for the target already stands in the first part.

    Args:
        users: v_u, as seen from the target.
        targets, negatives: item embeddings.
        target_ids, negative_ids: which items they are.
        log_expected: log(n q_j), or None for no correction.
    """
    hits = target_ids[:, None] == negative_ids
    shift = torch.zeros_like(negatives[:, 0]) if log_expected is None else -log_expected
    return _SampledSoftmax.apply(users, targets, negatives, hits, shift)


class _SampledSoftmax(torch.autograd.Function):
    """The mean of logsumexp([v'e_i, v'e_j + shift_j for j no hit]) - v'e_i, in few passes.

    Autograd would keep and walk a batch x negatives matrix at every step of this formula; the
    gradient of a softmax is known, so one such matrix is enough.
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
