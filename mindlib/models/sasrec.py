"""SASRec (Kang & McAuley 2018): one vector from causal self-attention over the sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.data.histories import History
from mindlib.data.option_types import SIZE
from mindlib.models.vector_model import (
    PROBABILITY,
    Interests,
    VectorConfig,
    VectorModel,
    check_window,
    recency_ranks,
)


@dataclass(frozen=True)
class SASRecConfig(VectorConfig):
    """Options of SASRec. Defaults are the published ones, except for `dim` and `history_length`.

    Attributes:
        dim: d, also the dimension of the feed-forward layers.
        hidden: None as published: the last state is the user vector.
        behavior_dropout: 0, because `dropout` applies to the behavior embeddings as well.
        layers: the number of self-attention blocks.
        dropout: dropout probability of every layer.
    """

    hidden: Annotated[tuple[int, ...] | None, SIZE] = None
    behavior_dropout: Annotated[float, PROBABILITY] = 0.0
    layers: Annotated[int, SIZE] = 2
    dropout: Annotated[float, PROBABILITY] = 0.2


class SASRec(VectorModel):
    """Encode a history by causal self-attention (Kang & McAuley 2018), with pre-norm blocks.

    The last state is the user vector. Unlike MIND it is a single vector, which depends on the
    order of the behaviors. Unlike the original, the model is trained like all others here: on the
    next item of a history, with a sampled softmax.
    """

    config_class = SASRecConfig

    def build(self, generator: torch.Generator) -> None:
        """Create the position embeddings and the self-attention blocks."""
        config = self.config
        self.positions = nn.Parameter(torch.empty(config.history_length, config.dim))
        self.dropout = nn.Dropout(config.dropout)
        block = nn.TransformerEncoderLayer(
            config.dim,
            1,  # head, as published
            dim_feedforward=config.dim,
            dropout=config.dropout,
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            block, config.layers, norm=nn.LayerNorm(config.dim), enable_nested_tensor=False
        )
        # Initialize again: PyTorch used the global generator, and copied one block.
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
        """Compute the state of the last behavior. Position 0 is the most recent behavior.

        Padding follows the behaviors, so that the causal mask hides it.
        """
        check_window(behaviors, self.config.history_length)
        length = behaviors.shape[1]
        order = torch.arange(length, device=behaviors.device)
        positions = recency_ranks(history.mask)
        is_later = order > order[:, None]
        behaviors = self.apply_dropout(behaviors, generator)
        states = behaviors * math.sqrt(self.config.dim) + self.positions[positions]
        # The generator decides whether dropout is active, not the mode of the model.
        is_training, device = generator is not None, behaviors.device
        self.dropout.train(is_training)
        self.blocks.train(is_training)
        with torch.random.fork_rng([device] if device.type == "cuda" else [], is_training):
            if generator is not None:  # dropout uses the global generator
                seed = torch.randint(1 << 62, (), generator=generator, device=generator.device)
                torch.manual_seed(int(seed))
            states = self.blocks(self.dropout(states), mask=is_later, is_causal=True)
        latest = states[torch.arange(len(states), device=states.device), positions[:, 0]]
        return Interests.all_active(self.user_vectors(latest[:, None, :], history))
