"""DIN, the Deep Interest Network (Zhou et al. 2018): a user as each candidate sees her.

Matching gives a user a few vectors, whatever she is shown; that is what lets an index search a
large catalogue. The ranking stage meets only a thousand items, and can afford to look at the whole
past once for each: behaviours that have to do with the candidate count, the others do not.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mindlib.data.histories import Histories, History
from mindlib.data.interactions import Interactions
from mindlib.layers.pooling import ItemEmbedding

# Outside training: pairs of a behaviour and a candidate, and hidden units, held at once.
MAX_PAIRS = 1 << 14
MAX_UNITS = 1 << 16


@dataclass(frozen=True)
class DINConfig:
    """What DIN is built with.

    Attributes:
        dim: of the item embeddings.
        activation_units: units of the local activation's hidden layer (36 in the paper).
        hidden: widths of the Dice layers that judge a candidate beside the pooled behaviours.
        history_length: the behaviours it sees, the last ones.
    """

    dim: int = 32
    activation_units: int = 36
    hidden: tuple[int, ...] = (200, 80)
    history_length: int = 50

    def __post_init__(self) -> None:
        for name in ("dim", "activation_units", "history_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden={self.hidden}: expected at least one layer, widths >= 1")


class Dice(nn.Module):
    """f(s) = p s + (1 - p) alpha s, p = sigmoid((s - E[s]) / sqrt(Var[s] + 1e-8)).

    A PReLU whose step is smooth and stands where the data are. E and Var are those of the batch
    while training, and their running averages otherwise, so that a score depends on nothing else
    in the batch.

    Args:
        width: the number of units; each has statistics and an alpha of its own.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.standardize = nn.BatchNorm1d(width, eps=1e-8, affine=False)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, s: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
        """f(s), unit by unit; every row counts in the statistics."""
        rows = s.flatten(0, -2)
        p = self.standardize(rows).sigmoid_()
        return (rows * torch.lerp(self.alpha, p.new_ones(()), p)).view_as(s)


class LocalActivation(nn.Module):
    """a(b, c): how much a behaviour counts for a candidate; any real number, not normalised.

    One Dice layer over the behaviour b, the candidate c and their product b∘c, and a linear unit
    (the paper's Figure 2). The weights of a past are not divided by their sum: how much of it has
    to do with the candidate is a thing to know, and a softmax would hide it. Public code feeds
    the difference b - c as well; before a linear layer it is nothing that b and c are not already.
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
        """a(b, c) for each behaviour and each of its user's candidates.

        Args:
            behaviors: of all users, one after another; padding is not among them, so that Dice
                never counts it.
            rows: whose behaviour each is.
            candidates: of each user.
        """
        if len(candidates) == 1 and not self.training:
            return self._for_one(behaviors, candidates[0])
        products = self.product(behaviors[:, None] * candidates.index_select(0, rows))
        of_candidates = self.candidate(candidates).index_select(0, rows)
        return self._weigh(products + of_candidates + self.behavior(behaviors)[:, None])

    def _for_one(
        self, behaviors: Float[Tensor, "length dim"], candidates: Float[Tensor, "n dim"]
    ) -> Float[Tensor, "length n"]:
        """The same for one user with many candidates, in blocks that stay in the cache.

        W(b∘c) = (W diag b) c: to scale the weights by each behaviour is less than to scale the
        candidates, and then all that comes before Dice is one matrix product.
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
    """The probability that a user takes a candidate, as a logit.

    Published beside it, and not here: a regulariser for the embeddings of a billion ids (early
    stopping does its work), and profile and context features (the interface of the ranking stage
    has behaviours and candidates).

    Args:
        items: the item table, its own: what is near for ranking need not be near for matching.
        config: see `DINConfig`; its `dim` is the table's.
        generator: draws the initial weights.
    """

    def __init__(
        self, items: ItemEmbedding, config: DINConfig, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        if items.dim != config.dim:
            raise ValueError(f"dim={config.dim}: expected the item table's, {items.dim}")
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
        """An untrained DIN for the catalogue of a log and its features."""
        config = config or DINConfig()
        items = ItemEmbedding(log.num_items, config.dim, log.item_features, generator=generator)
        return DIN(items, config, generator=generator)

    def forward(
        self, history: History, candidates: Int[Tensor, "batch n"]
    ) -> Float[Tensor, "batch n"]:
        """The logit of each candidate; that of an id 0 (padding) means nothing.

        In training mode Dice's statistics are those of everything in the call.
        """
        behaviors, seen = self._embed(history, candidates)
        weights = self._weights(history.mask, behaviors, seen)
        # A past is summed: a long one speaks louder than a short one.
        user = weights.mT @ behaviors
        return self.mlp(torch.cat([user, seen, user * seen], dim=2)).squeeze(2)

    @torch.no_grad()
    def activations(
        self, history: History, candidates: Int[Tensor, "batch n"]
    ) -> Float[Tensor, "batch length n"]:
        """a(b, c) for each behaviour and candidate, 0 at padding: what to explain a score with."""
        return self._weights(history.mask, *self._embed(history, candidates))

    @torch.no_grad()
    def score_lists(
        self, histories: Histories, items: Int[Tensor, "lists n"]
    ) -> Float[Tensor, "lists n"]:
        """The logit of each candidate of each past, with the running statistics.

        Raises:
            RuntimeError: the model is in training mode.
        """
        if self.training:
            raise RuntimeError("in training mode a score depends on its neighbours; call eval()")
        length = self.config.history_length
        at_once = max(1, MAX_PAIRS // (length * max(1, items.shape[1])))
        scores = [items.new_empty((0, items.shape[1]), dtype=self.items.weight.dtype)]
        for start in range(0, len(histories), at_once):
            part = slice(start, start + at_once)
            history = histories.select(part).to(items.device).window(length)
            scores.append(self(history, items[part]))
        return torch.cat(scores)

    def _embed(
        self, history: History, candidates: Int[Tensor, "batch n"]
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch n dim"]]:
        """e_i of behaviours and candidates; every item is looked up once."""
        ids = torch.cat([history.items.flatten(), candidates.flatten()])
        distinct, index = torch.unique(ids, return_inverse=True)
        behaviors, seen = F.embedding(index, self.items(distinct)).split(
            [history.items.numel(), candidates.numel()]
        )
        return (
            behaviors.unflatten(0, history.items.shape),
            seen.unflatten(0, candidates.shape),
        )

    def _weights(
        self,
        mask: Bool[Tensor, "batch length"],
        behaviors: Float[Tensor, "batch length dim"],
        candidates: Float[Tensor, "batch n dim"],
    ) -> Float[Tensor, "batch length n"]:
        places = mask.flatten().nonzero()[:, 0]
        real = behaviors.flatten(0, 1).index_select(0, places)
        weights = self.activation(real, places // mask.shape[1], candidates)
        padded = weights.new_zeros((mask.numel(), candidates.shape[1]))
        return padded.index_copy(0, places, weights).unflatten(0, mask.shape)


def _linear(
    fan_in: int, fan_out: int, generator: torch.Generator, *, bias: bool = True
) -> nn.Linear:
    layer = nn.Linear(fan_in, fan_out, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
