"""MIND: Multi-Interest Network with Dynamic routing (§3). MIND-1 is MIND with K = 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.layers.attention import PowerForm, check_power, label_aware_attention
from mindlib.layers.initial_logits import gaussian_logits
from mindlib.layers.routing import B2IRouting, RoutingConfig
from mindlib.models.vector import Interests, VectorConfig, VectorModel


@dataclass(frozen=True)
class MINDConfig(VectorConfig):
    """What MIND is built with.

    Attributes:
        routing: K, r and the forms of §3.3.2.
        power: p of label-aware attention.
        power_form: see `attention_weights`.
        evaluation_seed: from which Gaussian initial logits are derived outside training.
    """

    routing: RoutingConfig = field(default_factory=RoutingConfig)
    power: float = math.inf
    power_form: PowerForm = "scaled"
    evaluation_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_power(self.power)

    @classmethod
    def paper(cls, **changes: Any) -> MINDConfig:
        """§3 to the letter, where it is explicit: routing by Algorithm 1, a soft attention.

        Args:
            changes: fields that are to be different.
        """
        return super().paper(**{"routing": RoutingConfig.paper(), "power": 2.0} | changes)


class MIND(VectorModel):
    """Behaviours are routed into interests, beside the profile through the head, to V_u.

    Args:
        log: the catalogue, its features and the profile fields.
        config: see `MINDConfig`.
        generator: draws the initial weights.
    """

    def __init__(
        self, log: Interactions, config: MINDConfig | None = None, *, generator: torch.Generator
    ) -> None:
        config = config or MINDConfig()
        super().__init__(log, config, generator=generator)
        self.routing = B2IRouting(config.dim, config.routing, generator=generator)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Algorithm 1, then the head. Noise is redrawn in training, derived otherwise."""
        routing = self.config.routing
        batch, length = history.items.shape
        if routing.initial_logits == "farthest":
            logits = None
        elif generator is not None:
            logits = routing.sigma * torch.randn(
                (batch, routing.max_interests, length),
                generator=generator,
                device=generator.device,
                dtype=behaviors.dtype,
            ).to(behaviors.device)
        else:
            logits = gaussian_logits(
                history.items,
                routing.max_interests,
                sigma=routing.sigma,
                seed=self.config.evaluation_seed,
            ).to(behaviors.dtype)
        values = self.apply_dropout(behaviors, generator)
        capsules = self.routing(behaviors, history.mask, logits, values=values)
        vectors = self.user_vectors(capsules.vectors, history)
        # The head gives inactive capsules a vector again: it must not be mistaken for one.
        vectors = vectors * capsules.active[:, :, None]
        return Interests(vectors, capsules.active, capsules.coupling)

    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """Label-aware attention (§3.4)."""
        return label_aware_attention(
            interests.vectors, interests.active, labels, self.config.power, self.config.power_form
        )
