"""The bug museum of routing: the field's variants as switchable parts.

Every part has the signature of mindlib's own. An exhibit is mindlib's routing with one part
exchanged; `mindlib.lessons.n02_b2i.routing_properties` names what it lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.layers import routing
from mindlib.layers.initial_logits import gaussian_logits
from mindlib.layers.routing import Capsules, SoftmaxOver, active_interests, squash
from mindlib.lessons.n02_b2i.routing_properties import BATCH, DIFFER, ORDER, PADDING, STATE, SUM

# The places of a buffer of logits; a shorter window takes the first ones.
LONGEST_WINDOW = 1000

# -- The parts, as mindlib has them ----------------------------------------------------------------


@runtime_checkable
class Coupling(Protocol):
    """From logits to weights (Eq. 6), as `mindlib.layers.routing.compute_coupling`."""

    def __call__(
        self,
        logits: Float[Tensor, "batch interests length"],
        absent: Bool[Tensor, "batch interests length"],
        softmax_over: SoftmaxOver,
    ) -> Float[Tensor, "batch interests length"]: ...


@runtime_checkable
class InitialLogits(Protocol):
    """b_ij before the first round, as `mindlib.layers.initial_logits.gaussian_logits`."""

    def __call__(
        self, items: Int[Tensor, "batch length"], max_interests: int, *, sigma: float, seed: int
    ) -> Float[Tensor, "batch interests length"]: ...


@runtime_checkable
class Update(Protocol):
    """b_ij after a round, from b_ij and the agreement u_j' S e_i (Eq. 8)."""

    def __call__(
        self,
        logits: Float[Tensor, "batch interests length"],
        agreement: Float[Tensor, "batch interests length"],
    ) -> Float[Tensor, "batch interests length"]: ...


def accumulate(
    logits: Float[Tensor, "batch interests length"],
    agreement: Float[Tensor, "batch interests length"],
) -> Float[Tensor, "batch interests length"]:
    """b_ij <- b_ij + u_j' S e_i, as Algorithm 1 has it."""
    return logits + agreement


@dataclass
class Routing:
    """B2I routing put together from exchangeable parts, with S = I.

    With the parts that it has by default it computes what `B2IRouting` computes.

    Attributes:
        memory: the logits of the last call, if `keeps_logits`.
    """

    coupling: Coupling = routing.compute_coupling
    initial_logits: InitialLogits = gaussian_logits
    update: Update = accumulate
    max_interests: int = 3
    iterations: int = 3
    sigma: float = 1.0
    seed: int = 0
    keeps_logits: bool = False
    memory: Tensor | None = field(default=None, repr=False)

    def __call__(
        self,
        items: Int[Tensor, "batch length"],
        behaviors: Float[Tensor, "batch length dim"],
        mask: Bool[Tensor, "batch length"],
    ) -> Capsules:
        """Algorithm 1."""
        active = active_interests(mask.sum(1), self.max_interests, adaptive=True)
        absent = ~(active[:, :, None] & mask[:, None, :])
        logits = self.initial_logits(items, self.max_interests, sigma=self.sigma, seed=self.seed)
        if self.keeps_logits and self.memory is not None and self.memory.shape == logits.shape:
            logits = self.memory
        for iteration in range(self.iterations):
            weights = self.coupling(logits, absent, "interests")
            interests = squash(weights @ behaviors)
            if iteration < self.iterations - 1 or self.keeps_logits:
                logits = self.update(logits, interests @ behaviors.transpose(1, 2))
        if self.keeps_logits:
            self.memory = logits
        return Capsules(interests, active, weights, logits)  # pyright: ignore[reportPossiblyUnboundVariable]


# -- The exhibits ----------------------------------------------------------------------------------


def masked_after_behaviors(
    logits: Float[Tensor, "batch interests length"],
    absent: Bool[Tensor, "batch interests length"],
    softmax_over: SoftmaxOver,
) -> Float[Tensor, "batch interests length"]:
    """Softmax over all places, padding included; the weights of the padding are thrown away."""
    return logits.softmax(2).masked_fill(absent, 0)


def zero_logits(
    items: Int[Tensor, "batch length"], max_interests: int, *, sigma: float, seed: int
) -> Float[Tensor, "batch interests length"]:
    """Zeros, as Sabour's routing starts."""
    return torch.zeros(len(items), max_interests, items.shape[1])


def logits_by_position(
    items: Int[Tensor, "batch length"], max_interests: int, *, sigma: float, seed: int
) -> Float[Tensor, "batch interests length"]:
    """One draw for each place of the window, kept for ever, the same for all users."""
    generator = torch.Generator().manual_seed(seed)
    fixed = torch.randn(LONGEST_WINDOW, max_interests, generator=generator)[: items.shape[1]].T
    return (sigma * fixed).expand(len(items), -1, -1)


def summed_over_the_batch(
    logits: Float[Tensor, "batch interests length"],
    agreement: Float[Tensor, "batch interests length"],
) -> Float[Tensor, "batch interests length"]:
    """Everybody's agreement is added to everybody's logits, as if place i were one behaviour."""
    return logits + agreement.sum(0, keepdim=True)


def padding_shares(
    logits: Float[Tensor, "batch interests length"],
    absent: Bool[Tensor, "batch interests length"],
    softmax_over: SoftmaxOver,
) -> Float[Tensor, "batch interests length"]:
    """A floor before the softmax and nothing after: where all is floored, each gets 1/K'_u."""
    everywhere = absent.all(1, keepdim=True)
    unused = absent.all(2, keepdim=True)
    floored = logits.masked_fill(absent, torch.finfo(logits.dtype).min)
    return floored.masked_fill(everywhere, 0).masked_fill(unused, -torch.inf).softmax(1)


def unused_interests_share(
    logits: Float[Tensor, "batch interests length"],
    absent: Bool[Tensor, "batch interests length"],
    softmax_over: SoftmaxOver,
) -> Float[Tensor, "batch interests length"]:
    """Interests that a light user does not have take part in the softmax, then are cut off."""
    padding = absent.all(1, keepdim=True)
    return logits.softmax(1).masked_fill(padding, 0).masked_fill(absent, 0)


@dataclass(frozen=True)
class Exhibit:
    """One mistake of the field.

    Attributes:
        name: the mistake in a few words.
        story: what goes wrong.
        make: a fresh routing function that makes it (mindlib's parts but for one).
        violates: the properties it lacks, all of them; the first is the one that tells it best.
    """

    name: str
    story: str
    make: Callable[[], Routing]
    violates: tuple[str, ...]


MUSEUM = (
    Exhibit(
        "softmax over behaviours, mask after",
        "Padding takes weight and gives it to nobody: interests shrink as the window widens.",
        lambda: Routing(coupling=masked_after_behaviors),
        (PADDING, SUM),
    ),
    Exhibit(
        "logits kept between calls",
        "Each call starts where the last one ended, with other users' agreement in it.",
        lambda: Routing(keeps_logits=True),
        (STATE, BATCH, ORDER),
    ),
    Exhibit(
        "logits summed over the batch",
        "A user's interests depend on who else is in the batch.",
        lambda: Routing(update=summed_over_the_batch),
        (BATCH,),
    ),
    Exhibit(
        "zero logits",
        "With one shared S nothing tells the interests apart.",
        lambda: Routing(initial_logits=zero_logits),
        (DIFFER,),
    ),
    Exhibit(
        "padding gets 1/K",
        "Harmless while padding embeds to zeros, and only then.",
        lambda: Routing(coupling=padding_shares),
        (SUM, PADDING),
    ),
    Exhibit(
        "logits fixed by position",
        "Reproducible, but the same set of behaviours in another order has other interests.",
        lambda: Routing(initial_logits=logits_by_position),
        (ORDER,),
    ),
    Exhibit(
        "unused interests share",
        "A light user's behaviours pour weight into interests that she does not have.",
        lambda: Routing(coupling=unused_interests_share),
        (SUM,),
    ),
)
