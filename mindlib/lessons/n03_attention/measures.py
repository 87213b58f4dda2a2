"""The losses of a model with several interests in training and at serving (§3.4, Eq. 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data import Cases
from mindlib.experiments.merges import scored_cases
from mindlib.retrieval import InterestModel


class Losses(NamedTuple):
    """The full softmax loss of each target, in nats, with hard attention.

    Attributes:
        label: all items are scored by the interest that the target selected (Eq. 10).
        hint: log Z, where Z is the sum over the catalog of the probability that each item gets
            if it is the target. A distribution has Z = 1; the target's choice raises it up to K.
        candidate: each item is scored by its own best interest.
    """

    label: Float[Tensor, " targets"]
    hint: Float[Tensor, " targets"]
    candidate: Float[Tensor, " targets"]


def label_losses(model: InterestModel, cases: Cases) -> Losses:
    """Compute the losses of each target among all items of the catalog."""
    parts = []
    for _, _, scores, rows, targets in scored_cases(model, cases):
        best = scores.max(1)
        chosen = scores.log_softmax(2).gather(1, best.indices[:, None])[:, 0]
        hint = chosen.logsumexp(1)
        served = best.values.log_softmax(1)
        parts.append((-chosen[rows, targets], hint[rows], -served[rows, targets]))
    label, hint, candidate = (torch.cat(part) for part in zip(*parts, strict=True))
    return Losses(label, hint, candidate)
