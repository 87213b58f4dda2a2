"""What an index of item vectors promises, and the search of K interests in it (§3.5)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.retrieval.scores import InterestModel, Recommendations, merge

# Places of the lists held at once, users x interests x width, and interests searched at once.
PLACES_AT_ONCE = 1 << 21
QUERIES_AT_ONCE = 1 << 12


@runtime_checkable
class VectorIndex(Protocol):
    """Item vectors under their ids (1 and up; 0 is padding), searched by inner product.

    An index answers for the vectors it was given: after more training, build it again.
    """

    @property
    def dim(self) -> int:
        """d."""
        ...

    @property
    def ids(self) -> Int[Tensor, " items"]:
        """The ids it holds, each once, in no particular order."""
        ...

    @classmethod
    def build(cls, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> VectorIndex:
        """An index of these items.

        Raises:
            ValueError: as `add`; or there is no item.
        """
        ...

    def add(self, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> None:
        """Add items.

        Raises:
            ValueError: another dimension, a NaN or an infinity, an id below 1, or one that is
                there already. Nothing has been added then.
        """
        ...

    def remove(self, ids: Int[Tensor, " items"]) -> None:
        """Remove items.

        Raises:
            ValueError: an id that is not in the index. Nothing has been removed then.
        """
        ...

    def nearest(
        self,
        queries: Float[Tensor, "queries dim"],
        n: int,
        owners: Int[Tensor, " queries"] | None = None,
    ) -> Recommendations:
        """The n items with the largest inner product for each query, best first.

        It is what `search` is made of, and checks nothing. Where an engine finds fewer than n,
        the rest is id 0 with score -inf.

        Args:
            queries: finite vectors on the CPU, at least one.
            n: 1 to the number of items.
            owners: whose query each is, in ascending order. An approximate index may share its
                effort among the queries of one owner, whose lists are going to be merged; without
                owners each query is searched for by itself.
        """
        ...

    def save(self, path: str | Path) -> None:
        """Write it to one file: a whole one appears under this name, or none.

        Raises:
            OSError: the file cannot be written. An older one under this name is then untouched.
        """
        ...

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        dim: int | None = None,
        ids: Int[Tensor, " items"] | None = None,
    ) -> VectorIndex:
        """Read what `save` wrote.

        Args:
            dim, ids: what the index has to have, if given (the ids in any order).

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is cut short, of another kind of index or version of the format, or has
                another dimension or other ids than asked for.
        """
        ...


def catalogue(model: InterestModel) -> tuple[Float[Tensor, "items dim"], Int[Tensor, " items"]]:
    """e_i and the id of every item of a model: what an index is built from."""
    items = model.item_vectors().detach()
    return items[1:], torch.arange(1, len(items))


def search(
    index: VectorIndex,
    interests: Float[Tensor, "users interests dim"],
    active: Bool[Tensor, "users interests"],
    n: int,
    *,
    histories: Histories | None = None,
) -> Recommendations:
    """The top n of each user: every active interest searches, and the lists are merged (Eq. 3).

    As complete as the index: exactly the best n if it is exact. Where the index finds fewer than n,
    and for a user without an active interest, the end of the list is id 0 with score -inf. The
    vectors of inactive interests are neither looked at nor searched with.

    Args:
        interests, active: V_u, and which of its columns each user has.
        histories: items to leave out, a past for each user.

    Raises:
        ValueError: n is not 1 to the number of items in the index, or the shapes do not fit it, or
            an active interest has a NaN or an infinity.
    """
    num_items = len(index.ids)
    if not num_items:
        raise ValueError("the index is empty: add items before searching it")
    if not 1 <= n <= num_items:
        raise ValueError(f"n={n}: expected 1 to {num_items}, the number of items in the index")
    if interests.shape[2] != index.dim:
        raise ValueError(
            f"interests of dimension {interests.shape[2]}: the index has dimension {index.dim}; "
            f"use the model that it was built from, or build it again"
        )
    if histories is not None and len(histories) != len(interests):
        raise ValueError(
            f"{len(histories)} histories for {len(interests)} users: give one for each"
        )
    interests, active = interests.detach().float().cpu(), active.cpu()
    if not (finite := interests[active].isfinite().all(1)).all():
        user, interest = active.nonzero()[~finite][0].tolist()
        raise ValueError(
            f"interest {interest} of user {user} has a NaN or an infinity: expected finite "
            f"numbers; look for the cause in training (a smaller learning rate?)"
        )
    if not len(interests):
        return Recommendations(torch.zeros((0, n), dtype=torch.int64), torch.zeros((0, n)))

    rows, past = _distinct(histories) if histories is not None else (torch.zeros(0).long(),) * 2
    excluded = torch.bincount(rows, minlength=len(interests))
    # Of the n + |excluded| best for one interest, at least n are allowed; an item outside this list
    # is beaten by these n, each of which scores at least as much merged. So nothing is missing,
    # and one call to the index is enough. (To fetch fewer and go on where an interest's last score
    # still exceeds the n-th merged one is no faster: most of the time is spent scanning items, not
    # keeping them, and one interest often has most of the list and would be searched for twice.)
    widths = (n + excluded).clamp(max=num_items)
    parts = []
    start = 0
    while start < len(interests):
        # A long past makes the lists of its neighbours longer too: as many users as fit.
        longest = widths[start:].cummax(0).values
        number = torch.arange(1, len(longest) + 1)
        lists = number * active.shape[1]
        fitting = int(((lists * longest <= PLACES_AT_ONCE) & (lists <= QUERIES_AT_ONCE)).sum())
        users = slice(start, start + max(1, fitting))
        here = (rows >= users.start) & (rows < users.stop)
        parts.append(
            _search(
                index,
                interests[users],
                active[users],
                n,
                int(widths[users].max()),
                rows[here] - start,
                past[here],
            )
        )
        start = users.stop
    return Recommendations(
        torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
    )


def _search(
    index: VectorIndex,
    interests: Float[Tensor, "users interests dim"],
    active: Bool[Tensor, "users interests"],
    n: int,
    width: int,
    rows: Int[Tensor, " events"],
    past: Int[Tensor, " events"],
) -> Recommendations:
    """All lists in one call of the index, merged, and the items of the past taken out."""
    items = torch.zeros((*active.shape, width), dtype=torch.int64)
    scores = torch.full((*active.shape, width), -torch.inf)
    if active.any():
        owners = active.nonzero()[:, 0]
        items[active], scores[active] = index.nearest(interests[active], width, owners)
    merged = merge(items, scores, width)
    if not len(rows):
        return Recommendations(merged.items[:, :n], merged.scores[:, :n])
    # One number for each pair of user and item, in ascending order as the pairs are.
    most = 1 + max(int(merged.items.max()), int(past.max()))
    pairs = rows * most + past
    found = torch.arange(len(items))[:, None] * most + merged.items
    place = torch.searchsorted(pairs, found).clamp(max=len(pairs) - 1)
    left = merged.scores.masked_fill(pairs[place] == found, -torch.inf)
    best, order = left.topk(n)
    return Recommendations(merged.items.gather(1, order).masked_fill(best == -torch.inf, 0), best)


def _distinct(histories: Histories) -> tuple[Int[Tensor, " events"], Int[Tensor, " events"]]:
    """Each item of each past once, in ascending order: (number of the past, item)."""
    rows, items = (value.cpu() for value in histories.pairs())
    most = 1 + int(items.max()) if len(items) else 1
    pairs = (rows * most + items).unique()
    return pairs // most, pairs % most


def check_items(
    items: Float[Tensor, "items dim"],
    ids: Int[Tensor, " ids"],
    *,
    dim: int | None = None,
    known: Int[Tensor, " known"] | None = None,
) -> tuple[Float[Tensor, "items dim"], Int[Tensor, " ids"]]:
    """What `build` and `add` are given, checked, in float32 on the CPU.

    Args:
        dim: of the index that they are added to.
        known: the ids that it holds.
    """
    items = items.detach().to("cpu", torch.float32).contiguous()
    ids = ids.detach().to("cpu", torch.int64)
    if len(items) != len(ids):
        raise ValueError(f"{len(items)} vectors and {len(ids)} ids: give an id to each vector")
    if not len(items) and dim is None:
        raise ValueError("no items: an index needs at least one")
    if dim is not None and items.shape[1] != dim:
        raise ValueError(
            f"vectors of dimension {items.shape[1]}: the index has dimension {dim}; build a new "
            f"one for another dimension"
        )
    if not (finite := items.isfinite().all(1)).all():
        raise ValueError(
            f"the vector of item {int(ids[~finite][0])} has a NaN or an infinity: expected finite "
            f"float32 numbers; look for the cause in training, or leave the item out"
        )
    if len(ids) and int(ids.min()) < 1:
        raise ValueError(f"item id {int(ids.min())}: ids start at 1 (0 is padding)")
    distinct, count = ids.unique(return_counts=True)
    if (count > 1).any():
        raise ValueError(f"item id {int(distinct[count > 1][0])} twice: give every id once")
    if known is not None and (there := torch.isin(ids, known)).any():
        raise ValueError(
            f"item id {int(ids[there][0])} is in the index: remove it first to replace its vector"
        )
    return items, ids


def check_known(ids: Int[Tensor, " items"], known: Int[Tensor, " known"]) -> Int[Tensor, " items"]:
    """What `remove` is given, checked, on the CPU."""
    ids = ids.to("cpu", torch.int64)
    if not (there := torch.isin(ids, known)).all():
        raise ValueError(
            f"item id {int(ids[~there][0])} is not in the index (it holds {len(known)} ids): "
            f"remove only what `ids` lists"
        )
    return ids
