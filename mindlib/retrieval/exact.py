"""Exact search: every item is scored, for a block of users at a time.

In a large catalog or for many users, most items are scored in int8 only
(`mindlib.retrieval.int8`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.histories import Histories, check_items
from mindlib.data.tensor_file import TensorFile
from mindlib.retrieval.index import VectorIndex, check_vectors, digest_items
from mindlib.retrieval.int8 import Int8Items, has_fast_int8, top_in_float32
from mindlib.retrieval.scores import (
    BLOCK_SIZE,
    MAX_SCORES,
    InterestModel,
    Recommendations,
    concatenate,
    score_by_best_interest,
    top_items,
)

# With fewer items in an index, float32 is as fast; for fewer users, rounding takes too long.
MIN_INT8_ITEMS, MIN_USERS = 100_000, 64
USERS_AT_ONCE = 4096

Interests = Callable[
    [Histories], tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]
]


@dataclass(eq=False)
class ExactIndex(VectorIndex):
    """An index with a recall of 1, of arguments that `build` has checked."""

    items: Float[Tensor, "items dim"]

    def __post_init__(self) -> None:
        is_int8 = len(self.items) >= MIN_INT8_ITEMS and has_fast_int8()
        self.int8 = Int8Items(self.items) if is_int8 else None

    @classmethod
    def build(cls, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> ExactIndex:
        items, ids = check_vectors(items, ids)
        # Copies, because the caller may change their tensors.
        return cls(ids.clone(), items.shape[1], digest_items(items, ids), items.clone())

    def best(
        self,
        interests: Float[Tensor, "users interests dim"],
        active: Bool[Tensor, "users interests"],
        n: int,
    ) -> Recommendations:
        """See `VectorIndex.best`: the maximum over the interests needs no merging."""
        if len(active) == 1 and active.any():  # one user has vectors of active interests only
            interests, active = interests[:, active[0]], active[:, active[0]]
        # The interest that stands for the inactive ones must be the first; without any, it is 0.
        vectors = torch.where(active[:, :, None], interests, 0)
        vectors[:, 0] = vectors[torch.arange(len(active)), active.int().argmax(1)]
        is_used = active | (torch.arange(active.shape[1]) == 0)
        vectors = torch.where(is_used[:, :, None], vectors, vectors[:, :1])
        top = self.int8.top if self.int8 else partial(top_in_float32, self.items)
        none = torch.zeros((2, 0), dtype=torch.int64)
        blocks = vectors.split(max(1, MAX_SCORES // len(self.ids)))
        items, scores = concatenate([top(block, n, none) for block in blocks])
        items = self.ids[items].masked_fill(~active.any(1, keepdim=True), 0)
        return Recommendations(items, scores.masked_fill(items == 0, -torch.inf))

    def _state(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"items": self.items}, {}

    @classmethod
    def _restore(cls, content: TensorFile, folder: Path) -> ExactIndex:
        tensors, facts = content
        return cls(tensors["ids"], facts["dim"], facts["source"], tensors["items"])


def top_by_best_interest(
    interests: Interests,
    items: Float[Tensor, "items dim"],
    histories: Histories,
    n: int,
    *,
    exclude_history: bool,
) -> Recommendations:
    """Return the n items with the best score of any interest for each history (Eq. 3).

    Args:
        interests: returns V_u and the active interests, the first of which is always active.
        items: e_i of the whole catalogue; row 0 is padding.

    Raises:
        ValueError: n < 1 or n exceeds the catalogue, or an excluded item is not in it.
    """
    is_int8 = items.device.type == "cpu" and len(histories) >= MIN_USERS and has_fast_int8()
    if not is_int8 or not 1 <= n <= len(items) // (2 * BLOCK_SIZE):

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return score_by_best_interest(*interests(part), items)

        return top_items(score, histories, n, len(items) - 1, exclude_history=exclude_history)
    index, users = Int8Items(items.detach()), max(1, MAX_SCORES // len(items))
    parts = []
    for several in histories.split(USERS_AT_ONCE):
        vectors, active = interests(several)
        vectors = torch.where(active[:, :, None], vectors, vectors[:, :1]).detach()
        for part, block in zip(several.split(users), vectors.split(users), strict=True):
            row = torch.arange(len(part))
            excluded = torch.stack([row, torch.zeros_like(row)])  # padding
            if exclude_history:
                rows, seen = part.pairs()
                check_items(seen, len(items) - 1)
                excluded = torch.cat([excluded, torch.stack([rows, seen])], dim=1)
            parts.append(index.top(block, n, excluded))
    return concatenate(parts)


class ExactSearch:
    """Mixin of an `InterestModel` that recommends by exact search."""

    def recommend(
        self: InterestModel, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Recommend the n items with the best score of any interest of each history (Eq. 3)."""
        items = self.item_vectors()
        return top_by_best_interest(
            self.interests, items, histories.to(items.device), n, exclude_history=exclude_history
        )
