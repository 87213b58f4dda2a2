"""How many categories a history touches, and whom several interests help (§4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.histories import History
from mindlib.evaluation import Estimate, mean_estimate


class Breadth(NamedTuple):
    """How a window's behaviours spread over the categories.

    Attributes:
        touched: the number of different categories.
        entropy: of the categories' shares, in bits: 0 for one category, log2 n for n alike.
        known: whether each behaviour has a category.
    """

    touched: Int[Tensor, " users"]
    entropy: Float[Tensor, " users"]
    known: Bool[Tensor, " users"]


def breadth(history: History, categories: Int[Tensor, " items"]) -> Breadth:
    """Of each user; behaviours without a category are left out.

    Args:
        categories: the category of each item; 0 is unknown, and entry 0 is padding's.

    Raises:
        ValueError: the history has an item for which there is no entry.
    """
    if len(history.items) and int(history.items.max()) >= len(categories):
        raise ValueError(
            f"the history has item {int(history.items.max())}, the categories end with item "
            f"{len(categories) - 1}: give an entry for each item, entry 0 for padding"
        )
    codes = categories[history.items].masked_fill(~history.mask, 0)
    # One number for each pair of user and category: a count of pairs needs no loop over users.
    pairs = torch.arange(len(codes))[:, None] * (int(categories.max()) + 1) + codes
    kinds, counts = pairs[codes > 0].unique(return_counts=True)
    users = kinds // (int(categories.max()) + 1)
    sizes = (codes > 0).sum(1)
    share = counts.double() / sizes[users]
    entropy = torch.zeros(len(codes), dtype=torch.float64)
    entropy.index_add_(0, users, -share * share.log2())
    touched = torch.bincount(users, minlength=len(codes))
    return Breadth(touched, entropy.clamp(min=0), sizes == history.mask.sum(1))


class Group(NamedTuple):
    """Users whose histories touch a like number of categories.

    Attributes:
        label: which numbers, such as "1" or "4 to 7" or "8 or more".
        users: how many they are.
        difference: a - b over them, with its interval; None for fewer than two users.
    """

    label: str
    users: int
    difference: Estimate | None

    def __str__(self) -> str:
        """One line, the difference in points."""
        said = "too few for an interval"
        if self.difference:
            said = f"{self.difference.points()} points"
        return f"{self.label} categories, {self.users:,} users: {said}"


def by_breadth(
    a: Float[Tensor, "seeds users"],
    b: Float[Tensor, "seeds_b users_b"],
    touched: Int[Tensor, " histories"],
    starts: Sequence[int],
) -> list[Group]:
    """How much better a is than b, by the number of categories: paired over users.

    Each user's metric is averaged over the seeds first: seeds of one user are no new users.

    Args:
        a, b: a metric of each user with each seed of the two models.
        touched: as `Breadth` has it.
        starts: the smallest number of each group, ascending; the last has no end. Users below
            the first are in no group.

    Raises:
        ValueError: `starts` does not ascend or is empty, or the numbers of users differ.
    """
    if not starts or list(starts) != sorted(set(starts)):
        raise ValueError(f"starts={tuple(starts)}: expected ascending numbers, at least one")
    if not a.shape[1] == b.shape[1] == len(touched):
        raise ValueError(
            f"{a.shape[1]} and {b.shape[1]} users of the metric, {len(touched)} histories: "
            f"expected the same users"
        )
    difference = a.double().mean(0) - b.double().mean(0)
    groups = []
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        inside = touched >= start
        if after is not None:
            inside &= touched < after
        values = difference[inside]
        estimate = mean_estimate(values) if len(values) > 1 else None
        groups.append(Group(_label(start, after), len(values), estimate))
    return groups


def _label(start: int, after: int | None) -> str:
    if after is None:
        return f"{start} or more"
    return str(start) if after == start + 1 else f"{start} to {after - 1}"
