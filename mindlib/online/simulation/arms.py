"""The arms of §4.3: item-based CF, YouTube DNN, MIND with 1 to 7 interests and with dynamic K."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch

from mindlib.data.option_types import SIZE, Options
from mindlib.data.splits import Split
from mindlib.layers.routing import RoutingConfig
from mindlib.models.item_cf import ItemCF, ItemCFConfig
from mindlib.models.mind import MIND, MINDConfig
from mindlib.models.vector_model import VectorConfig, VectorModel
from mindlib.models.youtube_dnn import YouTubeDNN, YouTubeDNNConfig
from mindlib.retrieval import Recommender
from mindlib.training import TrainingConfig, fit

ITEM_CF = "item-based CF"
YOUTUBE_DNN = "YouTube DNN"
DYNAMIC_K = "MIND, dynamic K"


def fixed_k(interests: int) -> str:
    """Return the name of the arm with a fixed number of interests."""
    return f"MIND, K = {interests}"


@dataclass(frozen=True)
class ArmsConfig(Options):
    """One size and one training configuration for all, so that arms differ in the model alone.

    Attributes:
        interests: the fixed values of K, one arm each; the largest also bounds dynamic K.
        dim, hidden, history_length: of every vector model.
        training: of every vector model; the default was chosen on the validation users of the
            planted world, for YouTube DNN and MIND with K = 4 together.
    """

    interests: Annotated[tuple[int, ...], SIZE] = (1, 2, 3, 4, 5, 6, 7)
    dim: Annotated[int, SIZE] = 32
    hidden: Annotated[tuple[int, ...], SIZE] = (64,)
    history_length: Annotated[int, SIZE] = 32
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            epochs=4, batch_size=256, negatives=512, learning_rate=1e-2, schedule="cosine"
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.interests:
            raise ValueError("interests=(): expected at least one value of K")

    def models(self) -> dict[str, tuple[type[VectorModel], VectorConfig]]:
        """Return the model and its configuration for each arm that is a vector model."""
        shape = {"dim": self.dim, "hidden": self.hidden, "history_length": self.history_length}
        routing = {
            fixed_k(k): RoutingConfig(max_interests=k, adaptive=False) for k in self.interests
        }
        routing[DYNAMIC_K] = RoutingConfig(max_interests=max(self.interests))
        minds = {name: (MIND, MINDConfig(routing=own, **shape)) for name, own in routing.items()}
        return {YOUTUBE_DNN: (YouTubeDNN, YouTubeDNNConfig(**shape)), **minds}


def train_arms(
    split: Split, config: ArmsConfig | None = None, *, seed: int = 0
) -> Mapping[str, Recommender]:
    """Train every arm on `split.train`; validation cases choose its epoch.

    The seed is that of the initial weights and of the training run of each arm.
    """
    config = config or ArmsConfig()
    neighbors = min(ItemCFConfig().neighbors, split.log.num_items)
    cf = ItemCF.fit(split, ItemCFConfig(neighbors=neighbors))
    arms: dict[str, Recommender] = {ITEM_CF: cf}
    training = replace(config.training, seed=seed)
    for name, (kind, options) in config.models().items():
        model = kind(split.log, options, generator=torch.Generator().manual_seed(seed))
        fit(model, split, training, device="cpu", progress=False)
        arms[name] = model
    return arms
