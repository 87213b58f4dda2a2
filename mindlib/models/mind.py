"""MIND: Multi-Interest Network with Dynamic routing (§3). MIND-1 is MIND with K = 1."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.layers.attention import PowerForm, check_power, label_aware_attention
from mindlib.layers.routing import B2IRouting, RoutingConfig, gaussian_logits
from mindlib.models.vector import Interests, VectorModel, check_shape


@dataclass(frozen=True)
class MINDConfig:
    """What MIND is built with.

    Attributes:
        dim: d.
        hidden: widths of the ReLU layers between an interest capsule and v_u^k.
        history_length: the behaviours that routing sees, the last ones.
        routing: K, r, sigma and the readings of §3.3.2.
        power: p of label-aware attention.
        power_form: see `attention_weights`.
        evaluation_seed: from which the initial logits are derived outside training.
    """

    dim: int = 64
    hidden: tuple[int, ...] = (128,)
    history_length: int = 50
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    power: float = 2.0
    power_form: PowerForm = "scaled"
    evaluation_seed: int = 0

    def __post_init__(self) -> None:
        check_shape(self.dim, self.hidden, self.history_length)
        check_power(self.power)


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
        super().__init__(
            log,
            dim=config.dim,
            hidden=config.hidden,
            history_length=config.history_length,
            generator=generator,
        )
        self.config = config
        self.routing = B2IRouting(config.dim, config.routing, generator=generator)

    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Algorithm 1, then the head. The logits are redrawn in training, derived otherwise."""
        routing = self.config.routing
        batch, length = history.items.shape
        if generator is not None:
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
        capsules = self.routing(behaviors, history.mask, logits)
        vectors = self.head(capsules.vectors, self.profile(history.profile))
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
