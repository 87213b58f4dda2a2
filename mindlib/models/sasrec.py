"""SASRec (Kang & McAuley 2018): one vector, but from the sequence. A ceiling for K = 1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.models.vector import Interests, VectorConfig, VectorModel, check_window


@dataclass(frozen=True)
class SASRecConfig(VectorConfig):
    """What SASRec is built with; its own defaults are the published ones, d and the window are not.

    Attributes:
        dim: d, also the width of the feed-forward layers.
        hidden: None as published, where the last state is the user vector.
        behavior_dropout: none, beside `dropout`.
        layers: blocks of self-attention.
        heads: of each block; they divide d among them.
        dropout: the probability with which training drops a value, in every layer.
    """

    hidden: tuple[int, ...] | None = None
    behavior_dropout: float = 0.0
    layers: int = 2
    heads: int = 1
    dropout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1:
            raise ValueError(f"layers={self.layers}: expected at least one block")
        if self.heads < 1 or self.dim % self.heads:
            raise ValueError(f"heads={self.heads}: expected a divisor of dim={self.dim}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout}: expected a probability, at least 0, below 1")


class SASRec(VectorModel):
    """Causal self-attention over the behaviours; the state of the last one is the user vector.

    There is no head and no profile, as in the original, unless `hidden` asks for them. Unlike
    there, a training pair is a past and its next item, as for every model of this package, and
    the loss is the sampled softmax that all share (the original scores one negative for each place
    of the sequence). The blocks are torch's, in which keys and values are normalised like the
    queries.
    """

    def __init__(
        self, log: Interactions, config: SASRecConfig | None = None, *, generator: torch.Generator
    ) -> None:
        config = config or SASRecConfig()
        super().__init__(log, config, generator=generator)
        self.positions = nn.Parameter(torch.empty(config.history_length, config.dim))
        self.dropout = nn.Dropout(config.dropout)
        block = nn.TransformerEncoderLayer(
            config.dim,
            config.heads,
            dim_feedforward=config.dim,
            dropout=config.dropout,
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            block, config.layers, norm=nn.LayerNorm(config.dim), enable_nested_tensor=False
        )
        # Everything again: torch has drawn it without our generator, and copied the one block.
        nn.init.normal_(self.positions, std=config.dim**-0.5, generator=generator)
        for name, weight in self.blocks.named_parameters():
            if weight.dim() > 1:
                nn.init.xavier_normal_(weight, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """The last state. Places count back from the latest behaviour, whatever the past's length.

        A behaviour sees itself and what came before; padding comes after, so none sees it.
        """
        check_window(behaviors, self.config.history_length)
        length = behaviors.shape[1]
        last = (history.mask.sum(1) - 1).clamp(min=0)
        order = torch.arange(length, device=behaviors.device)
        places = (last[:, None] - order).clamp(min=0)
        later = order > order[:, None]
        behaviors = self.apply_dropout(behaviors, generator)
        states = behaviors * math.sqrt(self.config.dim) + self.positions[places]
        # Whether there is something to draw from decides, and not the mode that the model is in.
        self.dropout.train(generator is not None)
        self.blocks.train(generator is not None)
        with _draws_from(generator):
            states = self.blocks(self.dropout(states), mask=later, is_causal=True)
        latest = states[torch.arange(len(last), device=last.device), last]
        vectors = self.user_vectors(latest[:, None, :], history)
        return Interests(vectors, history.mask.new_ones(len(last), 1), None)

    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The one vector, whatever the label."""
        return interests.vectors[:, 0]


@contextmanager
def _draws_from(generator: torch.Generator | None) -> Iterator[None]:
    """Let torch's own layers, which know only the global generator, draw what ours decides."""
    if generator is None:
        yield
        return
    place = generator.device
    with torch.random.fork_rng([place] if place.type == "cuda" else []):
        seed = torch.randint(1 << 62, (), generator=generator, device=place)
        torch.manual_seed(int(seed))
        yield
