"""The sampled softmax (Eqs. 10-11) and the distributions of its negatives (§3.5)."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.cases import TrainingCases
from mindlib.training.config import Proposal

POPULARITY_POWER = 0.75  # as in word2vec (Mikolov et al. 2013)
# The scores that `_SampledSoftmax` computes at once: 2 MB in single precision.
SCORES_AT_ONCE = 1 << 19


def proposal_probabilities(
    proposal: Proposal, counts: Int[np.ndarray, " items"]
) -> Float[np.ndarray, " items"]:
    """Return q, the probability of each item as a negative; entry 0 (padding) is 0.

    Every item has a positive probability, because the sampled softmax estimates a sum over the
    whole catalogue.

    Args:
        proposal: see `TrainingConfig`.
        counts: the number of training events of each item; entry 0 is ignored.
    """
    if proposal == "uniform":
        weights = np.ones(len(counts) - 1)
    elif proposal == "log-uniform":
        rank = np.empty(len(counts) - 1)
        rank[np.argsort(-counts[1:], kind="stable")] = np.arange(len(counts) - 1)
        weights = np.log((rank + 2) / (rank + 1))
    else:
        weights = np.maximum(counts[1:], 1).astype(np.float64) ** POPULARITY_POWER
    return np.r_[0, weights / weights.sum()]


def target_probabilities(
    cases: TrainingCases, pairs_per_user: int = 0
) -> Float[np.ndarray, " items"]:
    """Return p, the probability of each item as the target of a training pair; entry 0 is 0.

    A training pair is a uniformly sampled case with one of its targets, also sampled uniformly.
    Therefore each item in a basket of ten counts a tenth. With `pairs_per_user` (see
    `TrainingConfig`), the cases of a user with more of them count less.
    """
    total, counts = np.zeros(cases.log.num_items + 1), cases.of_user
    for block in cases.blocks():
        sizes, weights = block.offsets.diff().numpy(), np.ones(len(block))
        if pairs_per_user:
            weights = np.minimum(1, pairs_per_user / counts[block.histories.users.numpy()])
        share = np.repeat(weights / sizes, sizes)
        total += np.bincount(block.targets.numpy(), weights=share, minlength=len(total))
    return total / total.sum()


class NegativeSampler:
    """Sample negatives with replacement, by binary search in the cumulative probabilities.

    Args:
        probabilities: q, see `proposal_probabilities`.
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
    active = torch.ones(len(users), 1, dtype=torch.bool, device=users.device)
    return candidate_aware_loss(
        users[:, None], active, targets, negatives, target_ids, negative_ids, log_expected
    )


def candidate_aware_loss(
    interests: Float[Tensor, "batch interests dim"],
    active: Bool[Tensor, "batch interests"],
    targets: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "n dim"],
    target_ids: Int[Tensor, " batch"],
    negative_ids: Int[Tensor, " n"],
    log_expected: Float[Tensor, " n"] | None,
    power: float = math.inf,
) -> Float[Tensor, ""]:
    """Compute the sampled softmax loss in which every candidate attends to the interests itself.

    The score of a candidate, label or negative, is e_j' V_u softmax(p V_u' e_j). With p = inf it
    is that of its best interest (the first of equal ones), as in serving (Eq. 3) and in MaxMF
    (Weston et al. 2013). In Eq. 10, in contrast, an interest that the label did not select adds
    nothing to the loss, however high it scores negatives. Therefore K vectors that are the same for
    every user and divide the catalogue among them lower that loss by up to log K, without any value
    for recommendation. With one interest both losses are equal.

    Args:
        interests, active: the interest vectors V_u, and whether the user has each interest, at
            least one per user.
        targets, negatives, target_ids, negative_ids, log_expected: see `sampled_softmax_loss`.
        power: p, by which the attention multiplies the scores (§3.4).
    """
    shift = torch.zeros_like(negatives[:, 0]) if log_expected is None else -log_expected
    return _SampledSoftmax.apply(
        interests, active, targets, negatives, target_ids, negative_ids, shift, power
    )


class _SampledSoftmax(torch.autograd.Function):
    """The candidate-aware sampled softmax loss, whose gradient is computed with the loss.

    The loss is the mean of logsumexp([f_i, f_j + shift_j]) - f_i over the negatives j that are not
    accidental hits, with f_j = sum_k w_jk s_jk, s_jk = v_k' e_j and w_j = softmax(p s_j), or 1 for
    the best of the active interests and 0 for the others. The derivative of f_j by s_jk is
    w_jk (1 + p (s_jk - f_j)). The loss is computed for as many users at a time as fit into the
    cache, so that no matrix of batch x negatives is stored. Users with more interests come first.
    Therefore a product is computed only for interests that exist.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx, interests, active, targets, negatives, target_ids, negative_ids, shift, power
    ):
        batch, most = active.shape
        counts = active.sum(1)
        users = counts.argsort(descending=True, stable=True)
        # The active interests of each user first, as rows of `flat`.
        order = active.byte().argsort(dim=1, descending=True, stable=True)
        flat, rows = interests.flatten(0, 1), users[:, None] * most + order[users]
        having = (counts[:, None] > torch.arange(most, device=counts.device)).sum(0).tolist()
        labels, slopes = targets[users], torch.zeros_like(targets)
        by_flat, by_negative = torch.zeros_like(flat), torch.zeros_like(negatives)
        hit_users, hit_columns = _accidental_hits(target_ids[users], negative_ids)
        size = min(batch, max(1, SCORES_AT_ONCE // (1 + len(negatives))))
        is_best = power == math.inf
        scores, memory = flat.new_empty(2, size, 1 + len(negatives))
        # With p = inf: 1 where an interest scores higher than those before it, or 0. With a finite
        # p: the scores of each interest, and then the derivatives of f.
        by_interest = flat.new_empty(most, size, 1 + len(negatives))
        loss = flat.new_zeros(())
        for start in range(0, batch, size):
            label, slope_of_label = labels[start : start + size], slopes[start : start + size]
            parts = [rows[start : min(n, start + size), k] for k, n in enumerate(having)]
            gathered = [flat.index_select(0, part) for part in parts]
            f = memory[: len(label)]  # column 0 is the label
            for k, vectors in enumerate(gathered):
                highest, of_interest = f[: len(vectors)], by_interest[k, : len(vectors)]
                own = (scores[: len(vectors)] if k else highest) if is_best else of_interest
                torch.sum(vectors * label[: len(vectors)], dim=1, out=own[:, 0])
                torch.mm(vectors, negatives.T, out=own[:, 1:])
                if is_best and k:
                    torch.gt(own, highest, out=of_interest)
                    torch.maximum(highest, own, out=highest)
            if not is_best:
                lengths = torch.tensor([len(vectors) for vectors in gathered], device=flat.device)
                absent = torch.arange(len(label), device=flat.device) >= lengths[:, None]
                s = by_interest[: len(gathered), : len(label)]
                s.masked_fill_(absent[:, :, None], 0)
                w = (power * s).masked_fill_(absent[:, :, None], -torch.inf).softmax(0)
                torch.sum(w * s, 0, out=f)
                s.sub_(f).mul_(power).add_(1).mul_(w)  # the derivatives of f by the scores
            f[:, 1:] += shift
            here = (hit_users >= start) & (hit_users < start + size)
            f[hit_users[here] - start, 1 + hit_columns[here]] = -torch.inf
            slope = f.softmax(1)
            loss += (f.amax(1) - slope.amax(1).log() - f[:, 0]).sum()
            slope[:, 0] -= 1
            for k, vectors in reversed(list(enumerate(gathered))):
                chosen = slope[: len(vectors)]
                if k or not is_best:
                    chosen = by_interest[k, : len(vectors)].mul_(chosen)
                if k and is_best:
                    slope[: len(vectors)] -= chosen
                of_label, others = chosen[:, :1], chosen[:, 1:]
                by_vector = torch.addmm(of_label * label[: len(vectors)], others, negatives)
                by_flat.index_copy_(0, parts[k], by_vector)
                by_negative.addmm_(others.T, vectors)
                slope_of_label[: len(vectors)] += of_label * vectors
        by_target = torch.empty_like(slopes).index_copy_(0, users, slopes)
        ctx.save_for_backward(by_flat.view_as(interests), by_target, by_negative)
        return loss / batch

    @staticmethod
    def backward(ctx, *gradient):  # type: ignore[override]
        scale = gradient[0] / len(ctx.saved_tensors[0])
        by_interest, by_target, by_negative = (slope * scale for slope in ctx.saved_tensors)
        return by_interest, None, by_target, by_negative, None, None, None, None


def _accidental_hits(
    target_ids: Int[Tensor, " batch"], negative_ids: Int[Tensor, " n"]
) -> tuple[Int[Tensor, " hits"], Int[Tensor, " hits"]]:
    """Return the row and the column of each negative that equals the target of the row."""
    ordered, columns = negative_ids.sort()
    first = torch.searchsorted(ordered, target_ids)
    counts = torch.searchsorted(ordered, target_ids, right=True) - first
    rows = torch.repeat_interleave(counts)
    shift = first - (counts.cumsum(0) - counts)
    columns = columns[torch.arange(len(rows), device=rows.device) + shift[rows]]
    return rows, columns
