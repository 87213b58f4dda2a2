"""What p does (§3.4): who receives the gradient, and how training differs from serving."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.splits import Cases
from mindlib.layers.attention import attention_weights, label_aware_attention
from mindlib.models.mind import MIND
from mindlib.models.vector import Interests
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
        slot_weight, slot_gradient: the share of the attention, and of the gradient's norm, that
            went to the interest number 1 to K.
        rank_weight, rank_gradient: the same for the best, the second, … interest of each pair.
        entropy: of the attention within a pair, from 0 (one interest) to 1 (all alike).
    """

    slot_weight: Float[Tensor, " interests"]
    slot_gradient: Float[Tensor, " interests"]
    rank_weight: Float[Tensor, " interests"]
    rank_gradient: Float[Tensor, " interests"]
    entropy: float


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
        entropy = torch.special.entr(weights).sum(1).mean()
        self.steps.append(
            Step(
                slot_weight=share(weights),
                slot_gradient=share(size),
                rank_weight=share(weights.gather(1, order)),
                rank_gradient=share(size.gather(1, order)),
                entropy=float(entropy) / math.log(max(2, weights.shape[1])),
            )
        )


def share(parts: Float[Tensor, "rows columns"]) -> Float[Tensor, " columns"]:
    """What each column has of the sum of all."""
    return parts.sum(0) / parts.sum().clamp(min=torch.finfo(parts.dtype).tiny)


def by_epoch(steps: list[Step], name: str, epochs: int) -> Float[Tensor, "epochs ..."]:
    """One attribute of the steps, averaged over each epoch (the epochs have equally many steps)."""
    values = torch.stack([torch.as_tensor(getattr(step, name)) for step in steps])
    return values.unflatten(0, (epochs, -1)).mean(1)


class Mismatch(NamedTuple):
    """One target a case, ranked in the whole catalogue without the past, in two ways.

    Attributes:
        attended: its rank by the vector that attention makes of the target itself. It knows the
            answer: a bound, not a method.
        served: its rank by the best interest of each item (Eq. 3).
        overtaken: the share of the other items that stand behind the target by the attended
            vector and before it by the best interest.
        other_list: whether the target stands higher in the list of another interest than in the
            list of the one with the best score for it.
    """

    attended: Int[Tensor, " cases"]
    served: Int[Tensor, " cases"]
    overtaken: Float[Tensor, " cases"]
    other_list: Bool[Tensor, " cases"]


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
    lists = torch.stack([ahead(v @ items.T).sum(1) for v in interests.unbind(1)], dim=1)
    lists = lists.masked_fill(~active, len(items))
    chosen = best_interest(interests, active, labels)
    others = (~barred).sum(1) - 1
    return Mismatch(
        by_label.sum(1) + 1,
        by_best.sum(1) + 1,
        (by_best & ~by_label).sum(1) / others,
        lists.amin(1) < lists[rows, chosen],
    )


def best_interest(
    interests: Float[Tensor, "batch interests dim"],
    active: Bool[Tensor, "batch interests"],
    label: Float[Tensor, "batch dim"],
) -> Int[Tensor, " batch"]:
    """The number of the active interest with the best score for the label."""
    scores = (interests @ label[:, :, None]).squeeze(2)
    return scores.masked_fill(~active, -torch.inf).argmax(1)


def unused_interests(model: InterestModel, cases: Cases) -> Float[Tensor, " cases"]:
    """The share of a user's active interests that none of her own items would choose.

    Her own items are all of her past and the targets. With fewer items than interests some must
    stay unused.
    """
    interests, active = model.interests(cases.histories)
    items = model.item_vectors()
    rows, own = cases.histories.pairs()
    rows, own = torch.cat([rows, cases.rows]), torch.cat([own, cases.targets])
    used = torch.zeros_like(active)
    used[rows, best_interest(interests[rows], active[rows], items[own])] = True
    return 1 - used.sum(1) / active.sum(1)


def free_interests(
    power: float,
    *,
    draws: int,
    interests: int = 4,
    dim: int = 8,
    per_cluster: int = 10,
    steps: int = 150,
    batch: int = 32,
    learning_rate: float = 0.1,
    seed: int = 0,
) -> tuple[Float[Tensor, "draws interests"], Float[Tensor, "draws steps"]]:
    """One user whose interests are free vectors, trained with attention of power p; many draws.

    Not MIND: no routing makes the interests from her behaviours, each is a parameter of its own,
    so that one which is never chosen stays where it began. Her items come from as many clusters as
    she has interests; the loss is the softmax over all of them.

    Returns:
        The share of her items that choose each interest in the end, and the loss at each step.
    """
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(draws, interests, 1, dim, generator=generator)
    noise = torch.randn(draws, interests, per_cluster, dim, generator=generator)
    items = torch.nn.functional.normalize(centers + 0.3 * noise, dim=3).flatten(1, 2)
    vectors = torch.randn(draws, interests, dim, generator=generator).requires_grad_()
    active = torch.ones(draws * batch, interests, dtype=torch.bool)
    optimizer = torch.optim.Adam([vectors], lr=learning_rate, fused=True)
    losses = []
    for _ in range(steps):
        targets = torch.randint(items.shape[1], (draws, batch), generator=generator)
        labels = items.gather(1, targets[:, :, None].expand(-1, -1, dim))
        weights = attention_weights((labels @ vectors.mT).flatten(0, 1), active, power)
        users = weights.unflatten(0, (draws, batch)) @ vectors
        logits = users @ items.mT
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), reduction="none"
        ).unflatten(0, (draws, batch))
        losses.append(loss.detach().mean(1))
        optimizer.zero_grad()
        loss.mean(1).sum().backward()
        optimizer.step()
    chosen = (vectors.detach() @ items.mT).argmax(1)
    shares = torch.nn.functional.one_hot(chosen, interests).double().mean(1)
    return shares, torch.stack(losses, dim=1)
