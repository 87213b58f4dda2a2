"""What all vector models share: item embeddings, the ReLU head, and retrieval by inner product."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mindlib.data.histories import Histories, History
from mindlib.data.interactions import Interactions
from mindlib.layers.pooling import ItemEmbedding, ProfileEmbedding
from mindlib.retrieval import Recommendations, score_by_best_interest, top_items

# Users encoded at once outside training.
USERS_AT_ONCE = 4096
PROFILE_DIM = 8


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
    the last is linear: after a ReLU all user vectors would lie in the positive orthant.
    """

    def __init__(
        self, dim: int, profile_width: int, hidden: tuple[int, ...], *, generator: torch.Generator
    ) -> None:
        super().__init__()
        widths = (dim + profile_width, *hidden, dim)
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            linear = nn.Linear(fan_in, fan_out)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(
        self,
        vectors: Float[Tensor, "batch interests dim"],
        profile: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch interests dim"]:
        """v_u^k from each interest capsule and p_u."""
        beside = profile[:, None, :].expand(-1, vectors.shape[1], -1)
        return self.layers(torch.cat([vectors, beside], dim=2))


class VectorModel(nn.Module):
    """A model that turns a history into K vectors, searched by inner product.

    Subclasses say how behaviours become vectors (`encode`) and which vector a label meets in
    training (`readout`); everything else is the same for all, so that a difference in a table is
    a difference between models.

    Args:
        hidden: widths of the head's ReLU layers; None for a model without head and profile.

    Attributes:
        config: the frozen dataclass that the model was built with.
    """

    config: Any

    def __init__(
        self,
        log: Interactions,
        *,
        dim: int,
        hidden: tuple[int, ...] | None,
        history_length: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.history_length = history_length
        self.items = ItemEmbedding(log.num_items, dim, log.item_features, generator=generator)
        sizes = log.profiles.sizes if log.profiles and hidden is not None else ()
        self.profile = ProfileEmbedding(sizes, PROFILE_DIM, generator=generator)
        self.has_head = hidden is not None
        if hidden is not None:
            self.head = Head(dim, self.profile.width, hidden, generator=generator)

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

    @torch.no_grad()
    def explain(self, histories: Histories) -> Interests:
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
            self.explain(histories.select(slice(start, start + USERS_AT_ONCE)))
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


def check_interests(max_interests: int) -> None:
    """Refuse a K that no user can have."""
    if max_interests < 1:
        raise ValueError(f"max_interests={max_interests}: expected K >= 1")


def check_window(behaviors: Float[Tensor, "batch length dim"], history_length: int) -> int:
    """The window's length, of a model that has weights for each of its places.

    Raises:
        ValueError: the window has more places than the model.
    """
    length = behaviors.shape[1]
    if length > history_length:
        raise ValueError(
            f"a window of {length} behaviours for a model that was built with "
            f"history_length={history_length}; pass the last {history_length}"
        )
    return length
