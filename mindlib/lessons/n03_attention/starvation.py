"""Interests that learn nothing (§3.4): starved ones in training, idle ones at the end."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.splits import Cases
from mindlib.layers.attention import attention_weights
from mindlib.lessons.n03_attention.attention_study import best_interest
from mindlib.retrieval import InterestModel

# Less than this share of the attention is as good as nothing.
STARVED_BELOW = 0.01


class FreeInterests(NamedTuple):
    """What became of users whose interests are free vectors.

    Attributes:
        received: the share of the attention, and with it of the learning, that each vector had in
            the second half of the training.
        chosen: the share of the user's items that score best with it in the end.
        losses: the loss at each step.
    """

    received: Float[Tensor, "draws interests"]
    chosen: Float[Tensor, "draws interests"]
    losses: Float[Tensor, "draws steps"]

    @property
    def starved(self) -> Float[Tensor, " draws"]:
        """The share of each user's vectors that had less than `STARVED_BELOW` of the attention."""
        return (self.received < STARVED_BELOW).double().mean(1)

    @property
    def idle(self) -> Float[Tensor, " draws"]:
        """The share of each user's vectors that none of her items chooses in the end."""
        return (self.chosen == 0).double().mean(1)


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
) -> FreeInterests:
    """One user whose interests are free vectors, trained with attention of power p; many draws.

    Not MIND: no routing makes the interests from her behaviours, each is a parameter of its own,
    so that one which is never chosen stays where it is. Her items come from as many clusters as
    she has interests; the loss is the softmax over all of them.
    """
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(draws, interests, 1, dim, generator=generator)
    noise = torch.randn(draws, interests, per_cluster, dim, generator=generator)
    items = torch.nn.functional.normalize(centers + 0.3 * noise, dim=3).flatten(1, 2)
    vectors = torch.randn(draws, interests, dim, generator=generator).requires_grad_()
    active = torch.ones(draws * batch, interests, dtype=torch.bool)
    optimizer = torch.optim.Adam([vectors], lr=learning_rate, fused=True)
    losses, received = [], []
    for _ in range(steps):
        targets = torch.randint(items.shape[1], (draws, batch), generator=generator)
        labels = items.gather(1, targets[:, :, None].expand(-1, -1, dim))
        weights = attention_weights((labels @ vectors.mT).flatten(0, 1), active, power)
        weights = weights.unflatten(0, (draws, batch))
        logits = weights @ vectors @ items.mT
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), reduction="none"
        ).unflatten(0, (draws, batch))
        losses.append(loss.detach().mean(1))
        received.append(weights.detach().mean(1))
        optimizer.zero_grad()
        loss.mean(1).sum().backward()
        optimizer.step()
    chosen = (vectors.detach() @ items.mT).argmax(1)
    shares = torch.nn.functional.one_hot(chosen, interests).double().mean(1)
    second_half = torch.stack(received[steps // 2 :])
    return FreeInterests(second_half.mean(0), shares, torch.stack(losses, dim=1))


def idle_interests(model: InterestModel, cases: Cases) -> Float[Tensor, " cases"]:
    """The share of a user's active interests that none of her own items would choose.

    Her own items are all of her past and the targets. With fewer items than interests some must
    stay idle.
    """
    interests, active = model.interests(cases.histories)
    items = model.item_vectors()
    rows, own = cases.histories.pairs()
    rows, own = torch.cat([rows, cases.rows]), torch.cat([own, cases.targets])
    used = torch.zeros_like(active)
    used[rows, best_interest(interests[rows], active[rows], items[own])] = True
    return 1 - used.sum(1) / active.sum(1)
