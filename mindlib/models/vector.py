"""What all vector models share: item embeddings, the head, and retrieval by inner product."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mindlib.data.histories import Histories, History
from mindlib.data.interactions import Interactions
from mindlib.data.title_words import encode_titles
from mindlib.layers.pooling import ItemEmbedding, Pooling, ProfileEmbedding
from mindlib.retrieval import Recommendations, score_by_best_interest, top_items

# Users encoded at once outside training.
USERS_AT_ONCE = 4096
PROFILE_DIM = 8
# The last layer of a residual head starts at this multiple of He's scale: nearly the identity.
RESIDUAL_INIT_SCALE = 0.1

HeadKind = Literal["residual", "relu"]
Config = TypeVar("Config", bound="VectorConfig")


@dataclass(frozen=True)
class VectorConfig:
    """What every vector model is built with.

    The defaults are what was found by validation on real purchases (notebook 05), the same for all
    models; `paper` gives the paper's literal form.

    Attributes:
        dim: d.
        hidden: widths of the head's ReLU layers; None for a model without head and profile.
        history_length: the behaviours that the model sees, the last ones.
        head: "relu" is the paper's, H of §3.3; "residual" adds what it says to its input.
        pooling: of an item's id and features: the paper's "mean", or "sum".
        id_scale: how large ids start, beside features. Below 1, items begin as what their features
            say.
        title_words: whether the words of its title describe an item too; with the sum only.
        behavior_dropout: the probability with which training drops a value of a behaviour's
            embedding. What goes into which interest is decided on what was there before.
    """

    dim: int = 64
    hidden: tuple[int, ...] | None = (128,)
    history_length: int = 50
    head: HeadKind = "residual"
    pooling: Pooling = "sum"
    id_scale: float = 0.1
    title_words: bool = True
    behavior_dropout: float = 0.5

    def __post_init__(self) -> None:
        check_shape(self.dim, self.hidden, self.history_length)
        if self.head not in ("residual", "relu"):
            raise ValueError(f"head={self.head!r}: expected 'residual' or 'relu'")
        if self.pooling not in ("mean", "sum"):
            raise ValueError(f"pooling={self.pooling!r}: expected 'mean' or 'sum'")
        if not 0 < self.id_scale < math.inf:
            raise ValueError(f"id_scale={self.id_scale}: expected a positive number")
        if self.title_words and self.pooling == "mean":
            raise ValueError(
                "title_words=True with pooling='mean': a long title would drown the rest of an "
                "item; pass pooling='sum', or title_words=False"
            )
        if not 0 <= self.behavior_dropout < 1:
            raise ValueError(
                f"behavior_dropout={self.behavior_dropout}: expected a probability, at least 0, "
                f"below 1"
            )

    @classmethod
    def paper(cls: type[Config], **changes: Any) -> Config:
        """As §3 has it: items are means, the head is ReLU layers, nothing is dropped.

        Args:
            changes: fields that are to be different.
        """
        literal: dict[str, Any] = {
            "head": "relu",
            "pooling": "mean",
            "id_scale": 1.0,
            "title_words": False,
            "behavior_dropout": 0.0,
        }
        return cls(**literal | changes)


class Interests(NamedTuple):
    """V_u of a batch, and how it came about.

    Attributes:
        vectors: v_u^k.
        active: which of them the user has.
        coupling: how much of each behaviour went into each interest; None for models that do
            not route.
    """

    vectors: Float[Tensor, "batch interests dim"]
    active: Bool[Tensor, "batch interests"]
    coupling: Float[Tensor, "batch interests length"] | None


class Head(nn.Module):
    """H of §3.3: each interest beside the profile, through ReLU layers, to v_u^k.

    The paper gives neither the layers' number and width nor whether the last one has a ReLU. Here
    the last is linear: after a ReLU all user vectors would lie in the positive orthant. A residual
    head is v = u + H(u, p_u). It starts near v = u, so that interests and items, which are averages
    of the same embeddings, speak of the same directions from the first step.
    """

    def __init__(
        self,
        dim: int,
        profile_width: int,
        hidden: tuple[int, ...],
        kind: HeadKind = "relu",
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.kind = kind
        widths = (dim + profile_width, *hidden, dim)
        layers = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(widths)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        *before, last = layers
        between = [module for layer in before for module in (layer, nn.ReLU())]
        self.layers = nn.Sequential(*between, last)
        if kind == "residual":
            with torch.no_grad():
                last.weight.mul_(RESIDUAL_INIT_SCALE)

    def forward(
        self,
        vectors: Float[Tensor, "batch interests dim"],
        profile: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch interests dim"]:
        """v_u^k from each interest capsule and p_u."""
        beside = profile[:, None, :].expand(-1, vectors.shape[1], -1)
        heard = self.layers(torch.cat([vectors, beside], dim=2))
        return vectors + heard if self.kind == "residual" else heard


class VectorModel(nn.Module):
    """A model that turns a history into K vectors, searched by inner product.

    Subclasses say how behaviours become vectors (`encode`) and which vector a label meets in
    training (`readout`); everything else is the same for all, so that a difference in a table is
    a difference between models.

    Args:
        log: the catalogue, its features and titles, and the profile fields.
        config: what the model is built with.
        generator: draws the initial weights.

    Attributes:
        config: what the model was built with.
    """

    config: Any  # of the subclass's own type

    def __init__(
        self, log: Interactions, config: VectorConfig, *, generator: torch.Generator
    ) -> None:
        super().__init__()
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
        sizes = log.profiles.sizes if log.profiles and config.hidden is not None else ()
        self.profile = ProfileEmbedding(sizes, PROFILE_DIM, generator=generator)
        self.has_head = config.hidden is not None
        if config.hidden is not None:
            self.head = Head(
                config.dim, self.profile.width, config.hidden, config.head, generator=generator
            )

    @abstractmethod
    def encode(
        self,
        behaviors: Float[Tensor, "batch length dim"],
        history: History,
        *,
        generator: torch.Generator | None,
    ) -> Interests:
        """V_u from behaviour embeddings (Eq. 1).

        Args:
            behaviors: e_i of each behaviour; zeros at padding.
            generator: draws what training draws; None while evaluating, when nothing is drawn.
        """

    @abstractmethod
    def readout(
        self, interests: Interests, labels: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The user vector that a label is scored with in training (§3.4)."""

    def user_vectors(
        self, interests: Float[Tensor, "batch interests dim"], history: History
    ) -> Float[Tensor, "batch interests dim"]:
        """v_u^k: what the head makes of each interest and the profile; without head, the same."""
        return self.head(interests, self.profile(history.profile)) if self.has_head else interests

    def apply_dropout(
        self, behaviors: Float[Tensor, "batch length dim"], generator: torch.Generator | None
    ) -> Float[Tensor, "batch length dim"]:
        """The behaviours as training lets them flow; as they are where nothing is drawn."""
        rate = self.config.behavior_dropout
        if generator is None or not rate:
            return behaviors
        luck = torch.rand(behaviors.shape, generator=generator, device=generator.device)
        return behaviors * ((luck >= rate) / (1 - rate)).to(behaviors)

    @torch.no_grad()
    def encode_histories(self, histories: Histories) -> Interests:
        """V_u of each past, with the coupling coefficients behind it."""
        history = histories.to(self.items.weight.device).window(self.history_length)
        batch, length = history.items.shape
        behaviors = self.items(history.items.flatten()).unflatten(0, (batch, length))
        return self.encode(behaviors, history, generator=None)

    def interests(
        self, histories: Histories
    ) -> tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]:
        """V_u for each past (Eq. 1), and which of its columns the user has."""
        parts = [
            self.encode_histories(histories.select(slice(start, start + USERS_AT_ONCE)))
            for start in range(0, len(histories), USERS_AT_ONCE)
        ]
        return torch.cat([p.vectors for p in parts]), torch.cat([p.active for p in parts])

    def item_vectors(self) -> Float[Tensor, "items dim"]:
        """e_i for the whole catalogue (Eq. 2); row 0 is padding."""
        return self.items.all()

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """The n items with the best score of any interest (Eq. 3), by exact search."""
        items = self.item_vectors()

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return score_by_best_interest(*self.interests(part), items)

        histories = histories.to(items.device)
        num_items = self.items.num_items
        return top_items(score, histories, n, num_items, exclude_history=exclude_history)


def check_shape(dim: int, hidden: tuple[int, ...] | None, history_length: int) -> None:
    """Refuse sizes that no model can have."""
    if dim < 1:
        raise ValueError(f"dim={dim}: expected a dimension >= 1")
    if any(width < 1 for width in hidden or ()):
        raise ValueError(f"hidden={hidden}: expected widths >= 1, or () for one linear layer")
    if history_length < 1:
        raise ValueError(f"history_length={history_length}: expected at least one behaviour")


def check_window(behaviors: Float[Tensor, "batch length dim"], history_length: int) -> None:
    """Refuse a window for which a model that has weights for each place has too few.

    Raises:
        ValueError: the window has more places than the model.
    """
    length = behaviors.shape[1]
    if length > history_length:
        raise ValueError(
            f"a window of {length} behaviours for a model that was built with "
            f"history_length={history_length}; pass the last {history_length}"
        )
