"""Other losses than Eq. 11 for models with several interests (§3.5).

In Eq. 10 the label chooses an interest, and all negatives are scored by that one. Two answers to
what follows from it: MaxMF's (Weston et al. 2013), which scores a negative as serving does, and
REMI's (Xie et al. 2023), harder negatives for the chosen interest. And REMI's penalty on routing.
They take what `mindlib.training.negatives.sampled_softmax_loss` takes.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def best_interest_loss(
    interests: Float[Tensor, "batch interests dim"],
    active: Bool[Tensor, "batch interests"],
    targets: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "n dim"],
    target_ids: Int[Tensor, " batch"],
    negative_ids: Int[Tensor, " n"],
    log_expected: Float[Tensor, " n"] | None,
) -> Float[Tensor, ""]:
    """Sampled softmax of f_score = max_k e_i' v_u^k (Eq. 3), for the label and for negatives.

    Training then asks what serving asks. In Eq. 10 an interest that the label did not choose
    costs nothing, however well it scores negatives: K vectors that are the same for every user
    and share the catalogue among them lower that loss by up to log K, and recommend nothing to
    anybody. With one interest both are the same.

    Args:
        interests, active: V_u, and which of its columns the user has.
        targets, negatives, target_ids, negative_ids, log_expected: as `sampled_softmax_loss`.
    """
    own = (interests @ targets[:, :, None]).squeeze(2).masked_fill(~active, -torch.inf)
    scores = (interests @ negatives.T).masked_fill(~active[:, :, None], -torch.inf).amax(1)
    if log_expected is not None:
        scores = scores - log_expected
    scores = scores.masked_fill(target_ids[:, None] == negative_ids, -torch.inf)
    best = own.amax(1, keepdim=True)
    return (torch.cat([best, scores], dim=1).logsumexp(1) - best[:, 0]).mean()


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
    """Sampled softmax with interest-aware hard negatives.

    Once the label has chosen an interest, most items drawn at random are easy to tell from it.
    So the sum over negatives is taken as if they had been drawn with a probability proportional
    to exp(beta v'e_j), by importance sampling: the term exp(v'e_j) of a negative gets the weight
    exp(beta v'e_j) divided by the mean of exp(beta v'e_l) over the negatives. That mean, like the
    sum, is over the catalogue: each negative stands in it for 1 / (n q_j) items. The gradient
    runs through the weights too, as in the published code. With beta = 0 this is
    `sampled_softmax_loss`.

    Args:
        users: v_u, the interest that the label chose.
        targets, negatives, target_ids, negative_ids, log_expected: as `sampled_softmax_loss`.
        beta: how hard; 0 is not at all.

    Raises:
        ValueError: beta is negative.
    """
    if not beta >= 0:
        raise ValueError(f"beta={beta}: expected 0 (the sampled softmax) or more")
    scores = users @ negatives.T
    hits = target_ids[:, None] == negative_ids
    stands_for = torch.zeros_like(negatives[:, 0]) if log_expected is None else -log_expected
    # Finite, so that a row of nothing but hits has no NaN; what is a hit is taken out at the end.
    nothing = torch.finfo(scores.dtype).min / 4
    shares = stands_for.expand_as(scores).masked_fill(hits, nothing)
    hardness = (beta * scores + stands_for).masked_fill(hits, nothing)
    mean = hardness.logsumexp(1, keepdim=True) - shares.logsumexp(1, keepdim=True)
    logits = (scores + stands_for + beta * scores - mean).masked_fill(hits, -torch.inf)
    own = (users * targets).sum(1, keepdim=True)
    return (torch.cat([own, logits], dim=1).logsumexp(1) - own[:, 0]).mean()


def routing_penalty(
    coupling: Float[Tensor, "batch interests length"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, ""]:
    """How far interests are from drawing evenly on the behaviours: REMI's routing regularisation.

    Sum over interests of the squared variance of their coupling over the behaviours, that is the
    squared Frobenius norm of the diagonal of the coupling's covariance matrix; the mean over
    users. It is largest where an interest copies one behaviour (routing collapse), and 0 where
    all behaviours weigh the same. (The published code divides by d instead of the number of
    behaviours, lets padding take part, and sums over the batch: its lambda = 100 is another one.)

    Args:
        coupling: w, `Interests.coupling`. Only a model whose coupling has a gradient learns from
            this: ComiRec-SA, or MIND with `gradient="all"`.
        mask: True where there is a behaviour.
    """
    count = mask.sum(1).clamp(min=1)[:, None]
    present = mask[:, None, :]
    mean = (coupling * present).sum(2) / count
    variance = ((coupling - mean[:, :, None]).square() * present).sum(2) / count
    return variance.square().sum(1).mean()
