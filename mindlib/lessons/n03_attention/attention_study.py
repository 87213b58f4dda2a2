"""What p does (§3.4): who receives the gradient, and how training differs from serving."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.splits import Cases
from mindlib.layers.attention import attention_weights, label_aware_attention
from mindlib.models.mind import MIND
from mindlib.models.vector_model import Interests
from mindlib.retrieval import InterestModel, score_by_best_interest


def interest_gradients(
    interests: Float[Tensor, "batch interests dim"],
    active: Bool[Tensor, "batch interests"],
    label: Float[Tensor, "batch dim"],
    power: float,
    upstream: Float[Tensor, "batch dim"],
) -> Float[Tensor, "batch interests dim"]:
    """dL/dv_k = w_k g + p w_k ((v_k - v)'g) e_i, where g = dL/dv and v = sum_k w_k v_k.

    The first part comes through the value, the second through the weight. Under the argmax (p =
    inf) the weights are constants: the chosen interest gets g, the others nothing.

    Args:
        upstream: g.
    """
    scores = (interests @ label[:, :, None]).squeeze(2)
    weights = attention_weights(scores, active, power)
    by_value = weights[:, :, None] * upstream[:, None, :]
    if math.isinf(power):
        return by_value
    attended = (weights[:, None, :] @ interests).squeeze(1)
    lead = ((interests - attended[:, None, :]) @ upstream[:, :, None]).squeeze(2)
    return by_value + (power * weights * lead)[:, :, None] * label[:, None, :]


@dataclass(frozen=True)
class Step:
    """What one training step did to the interests of the users who have all K of them.

    Attributes:
        slot_gradient: the share of the gradient's norm that went to the interest number 1 to K.
        rank_weight, rank_gradient: the share of the attention, and of the gradient's norm, that
            went to the best, the second, … interest of each pair.
    """

    slot_gradient: Float[Tensor, " interests"]
    rank_weight: Float[Tensor, " interests"]
    rank_gradient: Float[Tensor, " interests"]


class WatchedMIND(MIND):
    """MIND that notes, at every training step, which interests attention and gradient reach.

    Attributes:
        steps: one `Step` for each training step; steps without a user who has all K interests
            are left out.
    """

    @property
    def steps(self) -> list[Step]:
        return self.__dict__.setdefault("_steps", [])

    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """Label-aware attention, watched."""
        full = interests.active.all(1)
        if self.training and interests.vectors.requires_grad and bool(full.any()):
            with torch.no_grad():
                scores = (interests.vectors @ labels[:, :, None]).squeeze(2)[full]
                weights = attention_weights(
                    scores, interests.active[full], self.config.power, self.config.power_form
                )
            interests.vectors.register_hook(lambda g: self._note(g[full], scores, weights))
        return super().readout(interests, labels)

    def _note(
        self,
        gradient: Float[Tensor, "batch interests dim"],
        scores: Float[Tensor, "batch interests"],
        weights: Float[Tensor, "batch interests"],
    ) -> None:
        size = gradient.norm(dim=2)
        order = scores.argsort(dim=1, descending=True)
        self.steps.append(
            Step(
                slot_gradient=share(size),
                rank_weight=share(weights.gather(1, order)),
                rank_gradient=share(size.gather(1, order)),
            )
        )


def share(parts: Float[Tensor, "rows columns"]) -> Float[Tensor, " columns"]:
    """What each column has of the sum of all."""
    return parts.sum(0) / parts.sum().clamp(min=torch.finfo(parts.dtype).tiny)


def by_epoch(steps: list[Step], name: str, epochs: int) -> Float[Tensor, "epochs ..."]:
    """One attribute of the steps, averaged over each epoch (the epochs have equally many steps)."""
    values = torch.stack([getattr(step, name) for step in steps])
    return values.unflatten(0, (epochs, -1)).mean(1)


class Mismatch(NamedTuple):
    """One target a case, ranked in the whole catalogue without the past, in two ways.

    Attributes:
        attended: its rank by the vector that attention makes of the target itself. It knows the
            answer: a bound, not a method.
        served: its rank by the best interest of each item (Eq. 3).
        overtaken: the share of the other items that stand behind the target by the attended
            vector and before it by the best interest.
    """

    attended: Int[Tensor, " cases"]
    served: Int[Tensor, " cases"]
    overtaken: Float[Tensor, " cases"]


def mismatch(model: InterestModel, cases: Cases, power: float) -> Mismatch:
    """Training's way to score (attend by the label) and serving's way, on the same model.

    Args:
        cases: one target each.
        power: p of the attention.

    Raises:
        ValueError: a case has several targets.
    """
    if len(cases.targets) != len(cases):
        raise ValueError(f"{len(cases.targets)} targets in {len(cases)} cases: expected one each")
    interests, active = model.interests(cases.histories)
    items = model.item_vectors()
    labels = items[cases.targets]
    barred = torch.zeros(len(cases), len(items), dtype=torch.bool)
    barred[:, 0] = True
    barred[cases.histories.pairs()] = True
    rows = torch.arange(len(cases))

    def ahead(scores: Float[Tensor, "cases items"]) -> Bool[Tensor, "cases items"]:
        """Which items stand before the target."""
        return (scores > scores[rows, cases.targets][:, None]) & ~barred

    user = label_aware_attention(interests, active, labels, power)
    by_label = ahead(user @ items.T)
    by_best = ahead(score_by_best_interest(interests, active, items))
    others = (~barred).sum(1) - 1
    return Mismatch(
        by_label.sum(1) + 1,
        by_best.sum(1) + 1,
        (by_best & ~by_label).sum(1) / others,
    )


def best_interest(
    interests: Float[Tensor, "batch interests dim"],
    active: Bool[Tensor, "batch interests"],
    label: Float[Tensor, "batch dim"],
) -> Int[Tensor, " batch"]:
    """The number of the active interest with the best score for the label."""
    scores = (interests @ label[:, :, None]).squeeze(2)
    return scores.masked_fill(~active, -torch.inf).argmax(1)


class FloatWindow(NamedTuple):
    """Where |score|^p is an ordinary float32.

    Attributes:
        underflow, overflow: below the first the power is 0, above the second infinite.
        magnitudes: |score|, from 0 to beyond the window.
        logarithms: log10 of |score|^p in float32; -inf where it is 0, inf where it overflows.
    """

    underflow: float
    overflow: float
    magnitudes: Float[np.ndarray, " n"]
    logarithms: Float[np.ndarray, " n"]


def float_window(power: float) -> FloatWindow:
    """The p-th roots of float32's largest number and of half its smallest, and the power between.

    Raises:
        ValueError: the power is not a positive finite number.
    """
    if not 0 < power < math.inf:
        raise ValueError(f"power={power}: expected a positive finite number")
    overflow = torch.finfo(torch.float32).max ** (1 / power)
    smallest = 2.0**-149  # subnormal; half of it rounds to 0
    magnitudes = np.linspace(0, 1.15 * overflow, 561)
    powers = torch.tensor(magnitudes, dtype=torch.float32).pow(power).double().numpy()
    with np.errstate(divide="ignore"):
        logarithms = np.log10(powers)
    return FloatWindow((smallest / 2) ** (1 / power), overflow, magnitudes, logarithms)
