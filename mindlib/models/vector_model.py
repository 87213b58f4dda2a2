"""Base class of the models that represent a user by vectors and search by inner product."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mindlib.data.histories import Histories, History
from mindlib.data.interactions import Interactions
from mindlib.data.option_types import FACTOR, SIZE, Options
from mindlib.data.title_words import encode_titles
from mindlib.layers.attention import label_aware_attention
from mindlib.layers.pooling import ItemEmbedding, Pooling, ProfileEmbedding
from mindlib.models.head import Head, HeadKind
from mindlib.retrieval import ExactSearch

# The number of users encoded at once outside training.
USERS_AT_ONCE = 4096
PROFILE_DIM = 8
PROBABILITY = (0, 0.99)  # of dropout

Config = TypeVar("Config", bound="VectorConfig")


@dataclass(frozen=True)
class VectorConfig(Options):
    """Options of every vector model. The defaults are the tuned ones, not those of the paper.

    Attributes:
        dim: d, the embedding dimension.
        hidden: dimensions of the head's hidden layers; None for a model without head and profile.
        history_length: the number of most recent behaviors that the model uses.
        head: "relu" layers (paper), or "residual", which adds their output to their input.
        pooling: how an item's id and feature embeddings are pooled: "mean" (paper) or "sum".
        id_scale: initial standard deviation of the id embeddings as a multiple of the features'.
        title_words: whether the words of an item's title are features; needs pooling="sum".
        behavior_dropout: dropout probability of the behavior embeddings. It affects the values
            that are summed up, not the weights of the sum.
    """

    dim: Annotated[int, SIZE] = 64
    hidden: Annotated[tuple[int, ...] | None, SIZE] = (128,)
    history_length: Annotated[int, SIZE] = 50
    head: HeadKind = "residual"
    pooling: Pooling = "sum"
    id_scale: Annotated[float, FACTOR] = 0.1
    title_words: bool = True
    behavior_dropout: Annotated[float, PROBABILITY] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.title_words and self.pooling == "mean":
            raise ValueError(
                "title_words=True with pooling='mean': the words of a long title would dominate "
                "the mean; pass pooling='sum', or title_words=False"
            )

    @classmethod
    def paper(cls: type[Config], **changes: Any) -> Config:
        """Return the paper's configuration (§3), with `changes` to its fields."""
        literal: dict[str, Any] = {
            "head": "relu",
            "pooling": "mean",
            "id_scale": 1.0,
            "title_words": False,
            "behavior_dropout": 0.0,
        }
        return cls(**literal | changes)


@dataclass(frozen=True)
class MultiInterestConfig(VectorConfig):
    """Options of the models with the same number of vectors for every user.

    Attributes:
        max_interests: K, the number of vectors.
    """

    max_interests: Annotated[int, SIZE] = 4


class Interests(NamedTuple):
    """The interest vectors V_u of each user of a batch.

    Attributes:
        vectors: the vectors v_u^k.
        active: whether the user has this interest.
        coupling: the weight of each behavior in each interest; None if the model computes none.
    """

    vectors: Float[Tensor, "batch interests dim"]
    active: Bool[Tensor, "batch interests"]
    coupling: Float[Tensor, "batch interests length"] | None

    @classmethod
    def all_active(
        cls,
        vectors: Float[Tensor, "batch interests dim"],
        coupling: Float[Tensor, "batch interests length"] | None = None,
    ) -> Interests:
        """Return interests that are active for every user."""
        active = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
        return cls(vectors, active, coupling)


class VectorModel(ExactSearch, nn.Module):
    """Base class of models that encode a history as K vectors and score items by inner product.

    A subclass sets `config_class`, creates its own parameters in `build`, and computes a user's
    vectors in `encode`. Embeddings, head, training and retrieval are common to all models, so that
    differences between results are differences between encoders.

    Args:
        log: the interaction log, which has the item features, the titles and the profile fields.
        config: options of the model; `config_class()` by default.
    """

    config_class: ClassVar[type[VectorConfig]]
    config: Any  # an instance of config_class
    power: float = math.inf  # p of the attention (§3.4) to the interests; inf is the argmax

    def __init__(
        self, log: Interactions, config: VectorConfig | None = None, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        config = config or self.config_class()
        self.config = config
        self.history_length = config.history_length
        self.items = ItemEmbedding(
            log.num_items,
            config.dim,
            log.item_features,
            words=encode_titles(log.titles) if config.title_words and log.titles else None,
            pooling=config.pooling,
            id_scale=config.id_scale,
            generator=generator,
        )
        self.has_head = config.hidden is not None
        sizes = log.profiles.sizes if log.profiles and self.has_head else ()
        self.profile = ProfileEmbedding(sizes, PROFILE_DIM, generator=generator)
        if config.hidden is not None:
            self.head = Head(
                config.dim, self.profile.width, config.hidden, config.head, generator=generator
            )
        self.build(generator)

    def build(self, generator: torch.Generator) -> None:
        """Create the parameters of the encoder, if it has any."""

    @abstractmethod
    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """Compute the interest vectors V_u from behavior embeddings (Eq. 1).

        Args:
            behaviors: the embedding e_i of each behavior; zeros at padding.
            history: the items, mask and profile of each user.
            generator: for dropout and random initial logits; None in evaluation, which is
                deterministic.
        """

    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """Compute the user vector for each label in training by label-aware attention (§3.4)."""
        return label_aware_attention(interests.vectors, interests.active, labels, self.power)

    def user_vectors(
        self, interests: Float[Tensor, "batch interests dim"], history: History
    ) -> Float[Tensor, "batch interests dim"]:
        """Apply the head to each interest; return the interests unchanged if there is no head."""
        return self.head(interests, self.profile(history.profile)) if self.has_head else interests

    def apply_dropout(
        self, behaviors: Float[Tensor, "batch length dim"], generator: torch.Generator | None
    ) -> Float[Tensor, "batch length dim"]:
        """Apply dropout to the behavior embeddings if a generator is given, as in training."""
        rate = self.config.behavior_dropout
        if generator is None or not rate:
            return behaviors
        uniform = torch.rand(behaviors.shape, generator=generator, device=generator.device)
        return behaviors * ((uniform >= rate) / (1 - rate)).to(behaviors)

    @torch.no_grad()
    def encode_histories(self, histories: Histories) -> Interests:
        """Compute the interest vectors and the coupling of each history, without dropout.

        Raises:
            ValueError: as `History.check_codes`.
        """
        history = histories.to(self.items.weight.device).window(self.history_length)
        used_fields = self.profile.sizes if self.has_head else None
        history.check_codes(self.items.num_items, used_fields)
        batch, length = history.items.shape
        behaviors = self.items(history.items.flatten()).unflatten(0, (batch, length))
        return self.encode(behaviors, history, generator=None)

    def interests(
        self, histories: Histories
    ) -> tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]:
        """Compute the interest vectors V_u of each history (Eq. 1) and the mask of active ones."""
        parts = [self.encode_histories(part) for part in histories.split(USERS_AT_ONCE)]
        return torch.cat([p.vectors for p in parts]), torch.cat([p.active for p in parts])

    def item_vectors(self) -> Float[Tensor, "items dim"]:
        """Compute the item embeddings e_i of the whole catalogue (Eq. 2); row 0 is padding."""
        return self.items.all()


def check_window(behaviors: Float[Tensor, "batch length dim"], history_length: int) -> None:
    """Raise ValueError if a window is longer than the history length of the model."""
    length = behaviors.shape[1]
    if length > history_length:
        raise ValueError(
            f"a window of {length} behaviors is too long for a model that was built with "
            f"history_length={history_length}; pass the last {history_length} behaviors"
        )


def recency_ranks(mask: Bool[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
    """Return the place of each behavior from the end, 0 for the most recent; 0 at padding."""
    order = torch.arange(mask.shape[1], device=mask.device)
    return (mask.sum(1, keepdim=True) - 1 - order).clamp(min=0)
