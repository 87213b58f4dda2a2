"""MIND, the Multi-Interest Network with Dynamic routing (§3; arXiv 1904.08030)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindlib.data.histories import History
from mindlib.layers.initial_logits import gaussian_logits
from mindlib.layers.routing import B2IRouting, RoutingConfig
from mindlib.models.vector_model import (
    Interests,
    VectorConfig,
    VectorModel,
    check_window,
    recency_ranks,
)


@dataclass(frozen=True)
class MINDConfig(VectorConfig):
    """Options of MIND.

    Attributes:
        routing: K, r and the other options of §3.3.2.
        power: the factor p of label-aware attention (§3.4; in the paper, an exponent).
        evaluation_seed: seed of the Gaussian initial logits in evaluation.
        recency: whether the capsules also weight a behavior by its position from the end of the
            history, with one learned weight for each position (not in the paper).
    """

    routing: RoutingConfig = field(default_factory=RoutingConfig)
    power: float = math.inf
    evaluation_seed: Annotated[int, (0, 2**62 - 1)] = 0  # twice it is hashed as 64 bits
    recency: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power < 0:
            raise ValueError(
                f"power={self.power}: expected p >= 0; p = 0 is the mean, p = inf the argmax"
            )

    @classmethod
    def paper(cls, **changes: Any) -> MINDConfig:
        """Return the paper's configuration (§3; Algorithm 1, p = 2), with `changes` to fields."""
        return super().paper(**{"routing": RoutingConfig.paper(), "power": 2.0} | changes)


class MIND(VectorModel):
    """Multi-Interest Network with Dynamic routing: B2I routing, followed by the head.

    With max_interests=1 it is MIND-1: all coupling coefficients are 1, so that the routing layer
    computes a sum or mean of the mapped behaviors.
    """

    config_class = MINDConfig

    def build(self, generator: torch.Generator) -> None:
        """Create the routing layer with its bilinear map S, and the recency weights, all 1."""
        self.power = self.config.power
        self.routing = B2IRouting(self.config.dim, self.config.routing, generator=generator)
        if self.config.recency:
            self.recency = nn.Parameter(torch.zeros(self.config.history_length))

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Apply B2I routing (Algorithm 1), then the head."""
        logits = self.initial_logits(behaviors, history, generator)
        values = self.apply_dropout(behaviors, generator)
        weights = None
        if self.config.recency:
            check_window(behaviors, self.config.history_length)
            weights = self.recency[recency_ranks(history.mask)].exp()
        capsules = self.routing(behaviors, history.mask, logits, values=values, weights=weights)
        # The head maps zeros to a vector: mask inactive interests again.
        vectors = self.user_vectors(capsules.vectors, history) * capsules.active[:, :, None]
        return Interests(vectors, capsules.active, capsules.coupling)

    def initial_logits(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "batch interests length"] | None:
        """Return Gaussian initial logits, which are sampled in training and hashed in evaluation.

        Return None for farthest-point initialization, which the routing layer computes itself.
        """
        routing = self.config.routing
        if routing.initial_logits == "farthest":
            return None
        if generator is None:
            logits = gaussian_logits(
                history.items,
                routing.max_interests,
                sigma=routing.sigma,
                seed=self.config.evaluation_seed,
            )
            return logits.to(behaviors.dtype)
        batch, length = history.items.shape
        noise = torch.randn(
            (batch, routing.max_interests, length),
            generator=generator,
            device=generator.device,
            dtype=behaviors.dtype,
        )
        return routing.sigma * noise.to(behaviors.device)
