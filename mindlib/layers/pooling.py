"""Embedding and pooling (§3.2) of items, from their ids and features, and of user profiles.

All embeddings of items and features are rows of one weight matrix with sparse gradients, so that
the cost of a training step depends on the batch and not on the catalogue.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mindlib.data.feature_table import FeatureTable
from mindlib.data.option_types import check_option

Pooling = Literal["mean", "sum"]


class ItemEmbedding(nn.Module):
    """Embed items as the pooled embeddings of their ids and features (f_item, Eq. 2).

    Behaviors, targets and negatives share this module. Unknown features (code 0) are left out.

    Args:
        num_items: the number of items. Their ids are 1 to num_items; id 0 is padding, whose
            embedding is zero.
        dim: d, the embedding dimension.
        features: categorical fields of the items (category, brand, …). With pooling="mean" a field
            with several values (genres) counts as their mean.
        words: codes of the words of each title, padded with 0; for pooling="sum".
        pooling: "mean" (paper), or "sum", in which each of n words, or of n values of one field,
            has weight 1/sqrt(n). The sum omits feature values that only one item has, because they
            would duplicate its id.
        id_scale: initial standard deviation of the id embeddings as a multiple of d**-0.5, which
            is that of each feature embedding with pooling="sum", of the pooled one with "mean".
    """

    codes: Int[Tensor, "items slots"]
    slot_weights: Float[Tensor, "items slots"]

    def __init__(
        self,
        num_items: int,
        dim: int,
        features: FeatureTable | None = None,
        *,
        words: Int[np.ndarray, "items words"] | None = None,
        pooling: Pooling = "mean",
        id_scale: float = 1.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        check_option("pooling", pooling, Pooling)
        self.pooling = pooling
        fields = [features.codes[:, c] for c in features.columns.values()] if features else []
        fields += [] if words is None else [words]
        slots, weights = [np.arange(num_items + 1)[:, None]], [np.ones((num_items + 1, 1))]
        rows = num_items + 1
        for values in fields:
            values = _drop_unique_values(values) if pooling == "sum" else values
            slots.append(np.where(values > 0, values + rows - 1, 0))
            count = (values > 0).sum(1, keepdims=True).clip(1)
            power = -0.5 if pooling == "sum" else -1.0
            weights.append(np.broadcast_to(count**power, values.shape))
            rows += int(values.max(initial=0))
        # Not persistent, because they are data that each model computes from its log.
        codes, weights = np.hstack(slots), np.hstack(weights)
        if pooling == "mean":
            known = np.sum([(slot > 0).any(1, keepdims=True) for slot in slots], axis=0)
            weights = weights / known.clip(1)
        self.register_buffer("codes", torch.from_numpy(codes), persistent=False)
        slot_weights = torch.tensor(weights, dtype=torch.get_default_dtype())
        self.register_buffer("slot_weights", slot_weights, persistent=False)
        weight = torch.empty(rows, dim)
        deviation = dim**-0.5 * (len(slots) ** 0.5 if pooling == "mean" else 1)
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
        """Compute the embedding e_i of each item id."""
        if self.codes.shape[1] == 1:
            return F.embedding(items, self.weight, padding_idx=0, sparse=True)
        return _WeightedSums.apply(self.weight, self.codes[items], self.slot_weights[items])

    @torch.no_grad()
    def all(self) -> Float[Tensor, "items dim"]:
        """Compute the embeddings of the whole catalogue; row 0 (padding) is zeros."""
        return self(torch.arange(self.num_items + 1, device=self.weight.device))


class _WeightedSums(torch.autograd.Function):
    """Weighted sums of the rows of a table, with one row in the gradient for each row used.

    The gradient of `F.embedding_bag` has a row for each slot of each item, which are to be sorted
    and summed afterwards. Here only their codes are sorted. The gradient of a row is a weighted sum
    as well, over the items that have the row.
    """

    @staticmethod
    def forward(ctx, table, codes, weights):  # type: ignore[override]
        ctx.save_for_backward(codes, weights)
        ctx.shape = table.shape
        return F.embedding_bag(codes, table, mode="sum", padding_idx=0, per_sample_weights=weights)

    @staticmethod
    def backward(ctx, *gradient):  # type: ignore[override]
        codes, weights = ctx.saved_tensors
        used = codes.flatten().nonzero().squeeze(1)
        ordered, order = codes.flatten()[used].sort()
        slots = used[order]
        rows, counts = ordered.unique_consecutive(return_counts=True)
        values = F.embedding_bag(
            slots // codes.shape[1],
            gradient[0].contiguous(),
            counts.cumsum(0) - counts,
            mode="sum",
            per_sample_weights=weights.flatten()[slots],
        )
        by_row = torch.sparse_coo_tensor(
            rows[None], values, ctx.shape, is_coalesced=True, check_invariants=False
        )
        return by_row, None, None


def _drop_unique_values(codes: Int[np.ndarray, "items slots"]) -> Int[np.ndarray, "items slots"]:
    """Set feature values that only one item has to 0, and renumber the others from 1."""
    ordered = np.sort(codes, axis=1)
    first = np.ones(codes.shape, dtype=bool)  # count a value once per item
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    counts = np.bincount(ordered[first], minlength=int(codes.max(initial=0)) + 1)
    kept = counts > 1
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[codes]


class ProfileEmbedding(nn.Module):
    """Embed user profiles as the concatenated embeddings of their fields (p_u, §3.2).

    Args:
        sizes: the number of codes of each field. Code 0 ("unknown") has an embedding as well,
            because a missing age or gender is informative.
        dim: the dimension of each field's embedding.
    """

    offsets: Int[Tensor, " fields"]

    def __init__(self, sizes: tuple[int, ...], dim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes = sizes
        offsets = np.cumsum([0, *sizes])[:-1]
        self.register_buffer("offsets", torch.from_numpy(offsets), persistent=False)
        weight = torch.empty(sum(sizes), dim)
        nn.init.normal_(weight, std=dim**-0.5, generator=generator)
        self.weight = nn.Parameter(weight)

    @property
    def width(self) -> int:
        """The dimension of the profile embedding p_u."""
        return len(self.offsets) * self.weight.shape[1]

    def forward(self, profile: Int[Tensor, "batch fields"]) -> Float[Tensor, "batch width"]:
        """Compute the profile embedding p_u of each row of codes."""
        return F.embedding(profile + self.offsets, self.weight).flatten(1)
