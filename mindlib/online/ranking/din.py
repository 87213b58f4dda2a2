"""DIN, the Deep Interest Network (Zhou et al. 2018): user vectors that depend on the candidate.

Matching represents a user by a few vectors that are the same for all items, which is why an index
can search a large catalogue. Ranking scores only about a thousand items, and can therefore weight
the user's behaviors anew for each candidate: relevant behaviors count, others do not.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mindlib.data.histories import Histories, History, check_items
from mindlib.data.interactions import Interactions
from mindlib.data.option_types import SIZE, Options
from mindlib.layers.pooling import ItemEmbedding

# Memory bounds of inference: pairs of a behavior and a candidate, and hidden units, at a time.
MAX_PAIRS = 1 << 14
MAX_UNITS = 1 << 16


@dataclass(frozen=True)
class DINConfig(Options):
    """Sizes of DIN.

    Attributes:
        dim: dimension of the item embeddings.
        activation_units: hidden units of the local activation unit (36 in the paper).
        hidden: dimensions of the hidden layers of the MLP.
        history_length: number of most recent behaviors that are used.
    """

    dim: Annotated[int, SIZE] = 32
    activation_units: Annotated[int, SIZE] = 36
    hidden: Annotated[tuple[int, ...], SIZE] = (200, 80)
    history_length: Annotated[int, SIZE] = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hidden:
            raise ValueError("hidden=(): expected at least one layer")


class Dice(nn.Module):
    """Dice: f(s) = p s + (1 - p) alpha s, p = sigmoid((s - E[s]) / sqrt(Var[s] + 1e-8)).

    Each unit has its own alpha and statistics: those of the batch in training, and running averages
    in evaluation, so that a score does not depend on the batch.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.standardize = nn.BatchNorm1d(width, eps=1e-8, affine=False)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, s: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
        rows = s.flatten(0, -2)
        p = self.standardize(rows).sigmoid_()
        return (rows * torch.lerp(self.alpha, p.new_ones(()), p)).view_as(s)


class LocalActivation(nn.Module):
    """The local activation unit a(b, c): the weight of a behavior for a candidate, not normalized.

    One Dice layer over the behavior b, the candidate c and their product b∘c, and a linear unit
    (Figure 2 of Zhou et al.). The sum of the weights measures how much of the history is relevant
    to the candidate. Public implementations add b - c, which a linear layer can compute.
    """

    def __init__(self, dim: int, width: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.behavior = _linear(dim, width, generator)
        self.candidate = _linear(dim, width, generator, bias=False)
        self.product = _linear(dim, width, generator, bias=False)
        self.dice = Dice(width)
        self.out = _linear(width, 1, generator)

    def forward(
        self,
        behaviors: Float[Tensor, "pairs dim"],
        rows: Int[Tensor, " pairs"],
        candidates: Float[Tensor, "batch n dim"],
    ) -> Float[Tensor, "pairs n"]:
        """Return a(b, c) for each behavior and each of its user's candidates.

        Args:
            behaviors: of all users, without padding, which must not count in Dice's statistics.
            rows: the user of each behavior.
        """
        if len(candidates) == 1 and not self.training:
            return self._forward_one_user(behaviors, candidates[0])
        products = self.product(behaviors[:, None] * candidates.index_select(0, rows))
        of_candidates = self.candidate(candidates).index_select(0, rows)
        return self._weigh(products + of_candidates + self.behavior(behaviors)[:, None])

    def _forward_one_user(
        self, behaviors: Float[Tensor, "length dim"], candidates: Float[Tensor, "n dim"]
    ) -> Float[Tensor, "length n"]:
        """Compute the same for one user with many candidates, in blocks that fit the CPU cache.

        W(b∘c) = (W diag b) c: scaling the weights by each behavior costs less than scaling the
        candidates, and everything before Dice becomes one matrix product.
        """
        scaled = behaviors[:, None] * self.product.weight + self.candidate.weight
        shift = self.behavior(behaviors).flatten()
        units = len(shift)
        parts = [candidates.new_zeros((0, len(behaviors)))]
        for block in candidates.split(max(1, MAX_UNITS // max(1, units))):
            hidden = F.linear(block, scaled.flatten(0, 1), shift)
            parts.append(self._weigh(hidden.unflatten(1, scaled.shape[:2])))
        return torch.cat(parts).T

    def _weigh(self, hidden: Float[Tensor, "a b width"]) -> Float[Tensor, "a b"]:
        return self.out(self.dice(hidden)).squeeze(2)


class DIN(nn.Module):
    """Deep Interest Network: the logit of the probability that a user interacts with a candidate.

    Not implemented: the regularizer for embeddings of a billion ids (early stopping replaces it),
    and profile and context features (the ranking stage receives behaviors and candidates only).

    Args:
        items: item embeddings of its own, because ranking needs another similarity than matching.
        config: its `dim` is that of `items`.
    """

    def __init__(
        self, items: ItemEmbedding, config: DINConfig, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        if items.dim != config.dim:
            raise ValueError(f"dim={config.dim}: expected that of the item embeddings, {items.dim}")
        self.config = config
        self.items = items
        self.activation = LocalActivation(config.dim, config.activation_units, generator=generator)
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise((3 * config.dim, *config.hidden)):
            layers += [_linear(fan_in, fan_out, generator), Dice(fan_out)]
        self.mlp = nn.Sequential(*layers, _linear(config.hidden[-1], 1, generator))

    @staticmethod
    def from_log(
        log: Interactions, config: DINConfig | None = None, *, generator: torch.Generator
    ) -> DIN:
        """Build an untrained DIN for the items of a log and their features."""
        config = config or DINConfig()
        items = ItemEmbedding(log.num_items, config.dim, log.item_features, generator=generator)
        return DIN(items, config, generator=generator)

    def forward(
        self, history: History, candidates: Int[Tensor, "batch n"]
    ) -> Float[Tensor, "batch n"]:
        """Return the logit of each candidate; that of id 0 (padding) is meaningless.

        In training mode the statistics of Dice are those of this batch.
        """
        ids = torch.cat([history.items.flatten(), candidates.flatten()])
        distinct, index = torch.unique(ids, return_inverse=True)  # each item is looked up once
        vectors = F.embedding(index, self.items(distinct))
        behaviors, seen = vectors.split([history.items.numel(), candidates.numel()])
        seen = seen.unflatten(0, candidates.shape)
        shape = history.mask.shape
        positions = history.mask.flatten().nonzero()[:, 0]  # padding is left out, and weighs 0
        real = self.activation(behaviors.index_select(0, positions), positions // shape[1], seen)
        weights = real.new_zeros((len(behaviors), seen.shape[1])).index_copy(0, positions, real)
        # A sum, so that more relevant behaviors give larger vectors.
        user = weights.unflatten(0, shape).mT @ behaviors.unflatten(0, shape)
        return self.mlp(torch.cat([user, seen, user * seen], dim=2)).squeeze(2)

    @torch.no_grad()
    def score_lists(
        self, histories: Histories, items: Int[Tensor, "lists n"]
    ) -> Float[Tensor, "lists n"]:
        """Return the logit of each candidate of each history, on the device of `items`.

        Raises:
            RuntimeError: the model is in training mode.
            ValueError: an item of a history or a candidate is unknown to the model.
        """
        if self.training:
            raise RuntimeError("in training mode scores depend on the batch; call eval() first")
        check_items(items, self.items.num_items)
        device, length = self.items.weight.device, self.config.history_length
        rows = max(1, MAX_PAIRS // (length * max(1, items.shape[1])))
        scores = [self.items.weight.new_empty((0, items.shape[1]))]
        for start in range(0, len(histories), rows):
            part = slice(start, start + rows)
            history = histories.select(part).to(device).window(length)
            check_items(history.items, self.items.num_items)
            scores.append(self(history, items[part].to(device)))
        return torch.cat(scores).to(items.device)


def _linear(
    fan_in: int, fan_out: int, generator: torch.Generator, *, bias: bool = True
) -> nn.Linear:
    layer = nn.Linear(fan_in, fan_out, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
