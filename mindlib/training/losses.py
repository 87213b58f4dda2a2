"""REMI (Xie et al. 2023): hard negatives in Eq. 11, and a penalty on routing collapse."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def hard_negative_loss(
    users: Float[Tensor, "batch dim"],
    targets: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "n dim"],
    target_ids: Int[Tensor, " batch"],
    negative_ids: Int[Tensor, " n"],
    log_expected: Float[Tensor, " n"] | None,
    *,
    beta: float,
) -> Float[Tensor, ""]:
    """Compute the sampled softmax loss with interest-aware hard negatives (REMI).

    Most random items are easy to distinguish from the selected interest. Therefore the sum over
    negatives is estimated as if they had been sampled proportionally to exp(beta v'e_j), by
    importance sampling: the term exp(v'e_j) has the weight exp(beta v'e_j) divided by the mean of
    exp(beta v'e_l). That mean, like the sum, is over the catalogue, in which a negative represents
    1 / (n q_j) items. The gradient includes the weights, as in the published code. With beta = 0
    this is `sampled_softmax_loss`.

    Args:
        users: the user vector v_u, which is the interest that the label selected.
        targets, negatives, target_ids, negative_ids, log_expected: see `sampled_softmax_loss`.
        beta: the hardness, at least 0.
    """
    scores = users @ negatives.T
    hits = target_ids[:, None] == negative_ids
    log_weight = torch.zeros_like(negatives[:, 0]) if log_expected is None else -log_expected
    # A finite value instead of -inf, which would give NaN gradients if all are hits.
    lowest = torch.finfo(scores.dtype).min / 4
    log_weights = log_weight.expand_as(scores).masked_fill(hits, lowest)
    hardness = (beta * scores + log_weight).masked_fill(hits, lowest)
    mean = hardness.logsumexp(1, keepdim=True) - log_weights.logsumexp(1, keepdim=True)
    logits = (scores + log_weight + beta * scores - mean).masked_fill(hits, -torch.inf)
    own = (users * targets).sum(1, keepdim=True)
    return (torch.cat([own, logits], dim=1).logsumexp(1) - own[:, 0]).mean()


def routing_penalty(
    coupling: Float[Tensor, "batch interests length"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, ""]:
    """Compute REMI's routing regularization, a penalty on uneven coupling over the behaviors.

    For each user it is the sum over interests of the squared variance of their coupling over the
    behaviors, that is the squared Frobenius norm of the diagonal of the coupling's covariance. The
    mean over users is returned. It is 0 for equal weights and largest if an interest copies one
    behavior (routing collapse). The published code divides by d instead of the number of
    behaviors, includes padding, and sums over the batch, so its lambda = 100 is on another scale.

    Args:
        coupling: w_ij, as in `Interests.coupling`. Gradients must pass through it, as they do in
            ComiRec-SA, and in MIND with `gradient="all"`.
        mask: True where there is a behavior.
    """
    count = mask.sum(1).clamp(min=1)[:, None]
    present = mask[:, None, :]
    mean = (coupling * present).sum(2) / count
    variance = ((coupling - mean[:, :, None]).square() * present).sum(2) / count
    return variance.square().sum(1).mean()
