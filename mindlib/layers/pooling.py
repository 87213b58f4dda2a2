"""Embedding and pooling (§3.2): an item is the mean of its id and its features, a profile is a row.

All tables that are looked up by item share one weight matrix, so that a batch touches few rows of
one table and the optimiser has one set of rows to update.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mindlib.data.interactions import FeatureTable


class ItemEmbedding(nn.Module):
    """f_item (Eq. 2): the mean of the embeddings of the id, the category, the brand, …

    Behaviours, targets and negatives all use this one module. An unknown feature is left out of
    the mean instead of being averaged in, so that an item is described by what is known of it.

    Args:
        num_items: items are 1..num_items; 0 is padding and embeds to zeros.
        dim: d.
        features: categorical fields of the items, row by row, if there are any.
        scale: standard deviation of the initial embeddings *after* pooling.
    """

    codes: Int[Tensor, "items fields"]

    def __init__(
        self,
        num_items: int,
        dim: int,
        features: FeatureTable | None = None,
        *,
        scale: float | None = None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        codes = [np.arange(num_items + 1)]
        rows = num_items + 1
        for column, size in enumerate(features.sizes if features else ()):
            assert features is not None
            known = features.codes[:, column]
            codes.append(np.where(known > 0, known + rows - 1, 0))
            rows += size - 1
        # The codes are data, not weights: they are rebuilt from the log, never loaded.
        self.register_buffer("codes", torch.from_numpy(np.stack(codes, axis=1)), persistent=False)
        weight = torch.empty(rows, dim)
        deviation = (scale or dim**-0.5) * len(codes) ** 0.5
        nn.init.normal_(weight, std=deviation, generator=generator)
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
        if self.codes.shape[1] == 1:
            return F.embedding(items, self.weight, padding_idx=0, sparse=True)
        return F.embedding_bag(
            self.codes[items], self.weight, mode="mean", padding_idx=0, sparse=True
        )

    @torch.no_grad()
    def all(self) -> Float[Tensor, "items dim"]:
        """The vectors of the whole catalogue; row 0 (padding) is zeros."""
        return self(torch.arange(self.num_items + 1, device=self.weight.device))


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
