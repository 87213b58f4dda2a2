"""Embedding and pooling (§3.2): an item is its id and its features together, a profile a row.

All tables that are looked up by item share one weight matrix, so that a batch touches few rows of
one table and the optimiser has one set of rows to update.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mindlib.data.interactions import FeatureTable

Pooling = Literal["mean", "sum"]


class ItemEmbedding(nn.Module):
    """f_item (Eq. 2): what the id, the category, the brand, … say of an item, pooled.

    Behaviours, targets and negatives all use this one module. An unknown feature is left out
    instead of being pooled, so that an item is described by what is known of it.

    Args:
        num_items: items are 1..num_items; 0 is padding and embeds to zeros.
        dim: d.
        features: categorical fields of the items, row by row, if there are any.
        words: codes of the words of each item, 0 where there are no more; with the sum only.
        pooling: "mean" is the paper's. With "sum" an item has as much to say as is known of it;
            n words weigh 1/sqrt(n) each. A value that only one item has is then left out: it
            would be that item's second id.
        scale: standard deviation of the initial embeddings; of the mean *after* pooling.
        id_scale: the same of the ids, as a multiple of `scale`. Below 1, an item starts as what
            its features say, and learns what is its own.

    Raises:
        ValueError: words with pooling="mean", in which a long title would drown the rest.
    """

    # Of length 1, for models that score by cosine.
    unit: bool = False
    codes: Int[Tensor, "items slots"]
    shares: Float[Tensor, "items slots"]

    def __init__(
        self,
        num_items: int,
        dim: int,
        features: FeatureTable | None = None,
        *,
        words: Int[np.ndarray, "items words"] | None = None,
        pooling: Pooling = "mean",
        scale: float | None = None,
        id_scale: float = 1.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if words is not None and pooling == "mean":
            raise ValueError('words need pooling="sum": in a mean a long title drowns the rest')
        self.pooling = pooling
        columns = [features.codes[:, [c]] for c in range(len(features.fields))] if features else []
        columns += [] if words is None else [words]
        slots, shares = [np.arange(num_items + 1)[:, None]], [np.ones((num_items + 1, 1))]
        rows = num_items + 1
        for column in columns:
            column = _on_several_items(column) if pooling == "sum" else column
            slots.append(np.where(column > 0, column + rows - 1, 0))
            count = (column > 0).sum(1, keepdims=True).clip(1)
            shares.append(np.broadcast_to(count**-0.5, column.shape))
            rows += int(column.max(initial=0))
        # Codes and shares are data, not weights: they are rebuilt from the log, never loaded.
        self.register_buffer("codes", torch.from_numpy(np.hstack(slots)), persistent=False)
        share = torch.from_numpy(np.hstack(shares)).to(torch.get_default_dtype())
        self.register_buffer("shares", share, persistent=False)
        weight = torch.empty(rows, dim)
        deviation = (scale or dim**-0.5) * (len(slots) ** 0.5 if pooling == "mean" else 1)
        nn.init.normal_(weight, std=deviation, generator=generator)
        weight[: num_items + 1] *= id_scale
        weight[0] = 0
        self.weight = nn.Parameter(weight)

    @property
    def num_items(self) -> int:
        return self.codes.shape[0] - 1

    @property
    def dim(self) -> int:
        return self.weight.shape[1]

    def forward(self, items: Int[Tensor, " n"]) -> Float[Tensor, "n dim"]:
        """e_i for each item id, shape (n, dim)."""
        vectors = self._pooled(items)
        return F.normalize(vectors, dim=1) if self.unit else vectors

    def _pooled(self, items: Int[Tensor, " n"]) -> Float[Tensor, "n dim"]:
        if self.codes.shape[1] == 1:
            return F.embedding(items, self.weight, padding_idx=0, sparse=True)
        return F.embedding_bag(
            self.codes[items],
            self.weight,
            mode=self.pooling,
            padding_idx=0,
            sparse=True,
            per_sample_weights=self.shares[items] if self.pooling == "sum" else None,
        )

    @torch.no_grad()
    def all(self) -> Float[Tensor, "items dim"]:
        """The vectors of the whole catalogue; row 0 (padding) is zeros."""
        return self(torch.arange(self.num_items + 1, device=self.weight.device))


def _on_several_items(codes: Int[np.ndarray, "items slots"]) -> Int[np.ndarray, "items slots"]:
    """The codes numbered anew, 0 where no second item has the same."""
    ordered = np.sort(codes, axis=1)
    first = np.ones(codes.shape, dtype=bool)  # a value counts once for an item
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    counts = np.bincount(ordered[first], minlength=int(codes.max(initial=0)) + 1)
    kept = counts > 1
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[codes]


class ProfileEmbedding(nn.Module):
    """p_u (§3.2): the embeddings of the profile fields, concatenated.

    Args:
        sizes: the number of codes of each field; 0 is "unknown", which has an embedding of its
            own, since not telling one's age says something too.
        dim: the width of each field's embedding.
    """

    starts: Int[Tensor, " fields"]

    def __init__(self, sizes: tuple[int, ...], dim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        starts = np.cumsum([0, *sizes])[:-1]
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)
        weight = torch.empty(sum(sizes), dim)
        nn.init.normal_(weight, std=dim**-0.5, generator=generator)
        self.weight = nn.Parameter(weight)

    @property
    def width(self) -> int:
        """The length of p_u."""
        return len(self.starts) * self.weight.shape[1]

    def forward(self, profile: Int[Tensor, "batch fields"]) -> Float[Tensor, "batch width"]:
        """p_u for each row of codes, shape (batch, fields * dim)."""
        return F.embedding(profile + self.starts, self.weight).flatten(1)
