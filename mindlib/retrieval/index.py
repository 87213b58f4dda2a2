"""The interface of an index of item vectors, and the search with K interests in it (§3.5)."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.tensor_file import TensorFile, write_tensors
from mindlib.retrieval.scores import InterestModel, Recommendations, concatenate, merge, pad

# Entries of the lists in memory at once (users x interests x width), and interests in one search.
MAX_LIST_ENTRIES = 1 << 21
MAX_QUERIES = 1 << 12
FORMAT = "mindlib index 4"


@dataclass(eq=False)
class VectorIndex(ABC):
    """Item vectors with their ids (1 and up; 0 is padding), searched by inner product.

    An index is built once and does not change: after more training, build another one. An engine
    that retrieves a list for each query, such as Faiss, defines `nearest`; any other one, `best`.

    Attributes:
        ids: the ids of the items, each once, in any order.
        dim: the dimension d of the vectors.
        source: the digest of these ids and of the vectors that it was built from (`digest_items`).
    """

    ids: Int[Tensor, " items"]
    dim: int
    source: str

    @classmethod
    @abstractmethod
    def build(cls, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> VectorIndex:
        """Build an index of these items.

        Raises:
            ValueError: there is no item, a vector has a NaN or an infinity, an id is below 1 or
                occurs twice, or the numbers of vectors and ids differ.
        """

    def best(
        self,
        interests: Float[Tensor, "users interests dim"],
        active: Bool[Tensor, "users interests"],
        n: int,
    ) -> Recommendations:
        """Return the n items with the best score of any active interest of each user (Eq. 3).

        The lists of all interests are retrieved with one call of `nearest`, and merged. `search`
        calls this with n from 1 to the number of items, and finite active interests on the CPU.
        Where fewer than n items are retrieved, the rest is id 0 with score -inf.
        """
        items = torch.zeros((*active.shape, n), dtype=torch.int64)
        scores = torch.full((*active.shape, n), -torch.inf)
        if active.any():
            owners = active.nonzero()[:, 0]
            items[active], scores[active] = self.nearest(interests[active], n, owners)
        return merge(items, scores, n)

    def nearest(
        self, queries: Float[Tensor, "queries dim"], n: int, owners: Int[Tensor, " queries"]
    ) -> Recommendations:
        """Return the n items with the largest inner product for each query, best first.

        Args:
            queries: at least one.
            owners: the user of each query, in ascending order. An approximate index may share its
                work among the queries of one user, whose lists will be merged.
        """
        raise NotImplementedError

    @abstractmethod
    def _state(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and settings that a file in a folder must hold besides the ids."""

    @classmethod
    @abstractmethod
    def _restore(cls, content: TensorFile, folder: Path) -> VectorIndex:
        """Make an index of the content of a file in a folder."""

    def save(self, path: str | Path) -> None:
        """Write the index to one file, which appears whole or not at all.

        Raises:
            OSError: the file cannot be written. An older file of this name is unchanged.
        """
        path = Path(path).expanduser().resolve()
        tensors, settings = self._state(path.parent)
        facts = {"source": self.source, "dim": self.dim, "settings": settings}
        facts["engine"] = type(self).__name__
        write_tensors(path, FORMAT, TensorFile({"ids": self.ids, **tensors}, facts))


def catalogue(model: InterestModel) -> tuple[Float[Tensor, "items dim"], Int[Tensor, " items"]]:
    """Return e_i and the id of every item of a model, from which an index is built."""
    items = model.item_vectors().detach()
    return items[1:], torch.arange(1, len(items))


def digest_items(items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> str:
    """Compute the sha256 of item vectors (in float32) and their ids, in the order of the ids."""
    ids, order = ids.cpu().sort()
    items = items.detach().to("cpu", torch.float32)[order]
    digest = hashlib.sha256(f"{tuple(items.shape)}".encode())
    for tensor in (ids, items):
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def search(
    index: VectorIndex,
    interests: Float[Tensor, "users interests dim"],
    active: Bool[Tensor, "users interests"],
    n: int,
    *,
    histories: Histories | None = None,
) -> Recommendations:
    """Return the top n of each user: search with every active interest and merge the lists (Eq. 3).

    The recall is that of the index, so the list is exact if the index is. Where the index retrieves
    fewer than n items, and for a user without an active interest, the end of the list is id 0 with
    score -inf. The vectors of inactive interests are neither checked nor used.

    Args:
        interests, active: V_u, and which of its columns are active for each user.
        histories: the items to leave out, one history for each user.

    Raises:
        ValueError: n is not 1 to the number of items in the index, the shapes do not fit the index,
            or an active interest has a NaN or an infinity.
    """
    num_items = len(index.ids)
    if not 1 <= n <= num_items:
        raise ValueError(f"n={n}: expected 1 to {num_items}, the number of items in the index")
    if interests.shape[2] != index.dim:
        raise ValueError(
            f"interests of dimension {interests.shape[2]}: the index has dimension {index.dim}; "
            f"use the model that it was built from, or build it again"
        )
    if histories is not None and len(histories) != len(interests):
        raise ValueError(
            f"{len(histories)} histories for {len(interests)} users: expected one for each user"
        )
    interests, active = interests.detach().float().cpu(), active.cpu()
    if not (is_finite := interests[active].isfinite().all(1)).all():
        user, interest = active.nonzero()[~is_finite][0].tolist()
        raise ValueError(
            f"interest {interest} of user {user} has a NaN or an infinity: expected finite "
            f"numbers; look for the cause in training (a smaller learning rate?)"
        )

    # One number for each distinct pair of a user and an excluded item, in ascending order.
    rows, items = torch.zeros((2, 0), dtype=torch.int64) if histories is None else histories.pairs()
    base = 2 + (int(items.max()) if len(items) else 0)
    excluded = (rows * base + items).unique().cpu()
    rows = excluded // base
    # Of the n + |excluded| best items for one interest, at least n are allowed. An item outside
    # this list has a lower score than these n, also after the merge, so one search is enough.
    # Retrieving fewer and searching again is no faster, since scanning takes most of the time.
    widths = (n + torch.bincount(rows, minlength=len(interests))).clamp(max=num_items)
    parts = [Recommendations(torch.zeros((0, n), dtype=torch.int64), torch.zeros((0, n)))]
    queries = min(MAX_QUERIES, MAX_LIST_ENTRIES // max([n, *widths.tolist()]))
    step = max(1, queries // active.shape[1])
    for start in range(0, len(interests), step):
        users = slice(start, start + step)
        merged = index.best(interests[users], active[users], int(widths[users].max()))
        is_here = (rows >= users.start) & (rows < users.stop)
        parts.append(_exclude(merged, excluded[is_here] - start * base, base, n))
    return concatenate(parts)


def _exclude(
    lists: Recommendations, excluded: Int[Tensor, " pairs"], base: int, n: int
) -> Recommendations:
    """Return the n best of each list without the excluded pairs, each user * base + item."""
    items, scores = lists
    if not len(excluded):
        return Recommendations(items[:, :n], scores[:, :n])
    # No pair has the item base - 1, which therefore represents all larger ids.
    retrieved = torch.arange(len(items))[:, None] * base + items.clamp(max=base - 1)
    position = torch.searchsorted(excluded, retrieved).clamp(max=len(excluded) - 1)
    best, order = scores.masked_fill(excluded[position] == retrieved, -torch.inf).topk(n)
    return pad(best, items.gather(1, order))


@dataclass(frozen=True)
class IndexRecommender:
    """A `Recommender` that searches an index with a model's interests.

    Attributes:
        model: computes V_u. A user without behaviours gets the interests that the model computes
            from the profile alone, as in the models' own `recommend`.
        index: of all or some of the model's item vectors (`catalogue`). After more training it is
            stale and refused.
    """

    model: InterestModel
    index: VectorIndex

    def __post_init__(self) -> None:
        vectors, ids = self.model.item_vectors(), self.index.ids
        is_known = int(ids.max()) < len(vectors)
        if not is_known or digest_items(vectors[ids.to(vectors.device)], ids) != self.index.source:
            raise ValueError(
                "the index was built from other item vectors than the model's: build it from this "
                "model's catalogue"
            )

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Return the n items with the best score of any interest, as `search` does."""
        interests, active = self.model.interests(histories)
        excluded = histories if exclude_history else None
        return search(self.index, interests, active, n, histories=excluded)


def check_vectors(
    items: Float[Tensor, "items dim"], ids: Int[Tensor, " ids"]
) -> tuple[Float[Tensor, "items dim"], Int[Tensor, " ids"]]:
    """Check the arguments of `VectorIndex.build`, and move them to the CPU (float32 and int64)."""
    items = items.detach().to("cpu", torch.float32).contiguous()
    ids = ids.detach().to("cpu", torch.int64)
    if len(items) != len(ids):
        raise ValueError(f"{len(items)} vectors and {len(ids)} ids: expected an id for each vector")
    if not len(items):
        raise ValueError("no items: an index needs at least one")
    if not (is_finite := items.isfinite().all(1)).all():
        raise ValueError(
            f"the vector of item {int(ids[~is_finite][0])} has a NaN or an infinity: expected "
            f"finite float32 numbers; look for the cause in training, or leave the item out"
        )
    if int(ids.min()) < 1:
        raise ValueError(f"item id {int(ids.min())}: ids start at 1 (0 is padding)")
    distinct, count = ids.unique(return_counts=True)
    if (count > 1).any():
        raise ValueError(f"item id {int(distinct[count > 1][0])} twice: expected every id once")
    return items, ids
