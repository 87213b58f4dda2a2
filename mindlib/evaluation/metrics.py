"""HitRate@N and friends, over the whole catalogue (§4.1), and what is going on inside a model.

A case is a past and the set T of items that came next; L is the recommended list of N items.

- HitRate@N: 1 if any target is in L. With one target a case this is Eq. 12.
- Recall@N: the share of the targets that are in L.
- NDCG@N: sum over hits of 1 / log2(rank + 1), divided by the same sum for the ideal list, which
  has min(|T|, N) hits at its top.
- Coverage@N: the share of the catalogue that at least one list shows.
- Categories@N: how many categories are among the N items, where each item's is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.splits import Cases
from mindlib.retrieval import Recommender

# Lists held at once: cases x N.
MAX_LIST_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Evaluation:
    """A model's numbers, case by case, so that spread and paired tests are possible.

    Attributes:
        values: for each metric, "HitRate@10" and so on, a value for each case. (Categories@N is a
            number of categories, all others are shares.)
        coverage: Coverage@N for each N.
    """

    values: dict[str, Float[Tensor, " cases"]]
    coverage: dict[str, float]

    def means(self) -> dict[str, float]:
        """The mean of each metric over the cases, and the coverages."""
        return {name: float(v.mean()) for name, v in self.values.items()} | self.coverage

    def standard_errors(self) -> dict[str, float]:
        """How far each mean may be off because the cases are a sample."""
        return {name: float(v.std(correction=1)) / len(v) ** 0.5 for name, v in self.values.items()}


def evaluate(
    recommender: Recommender,
    cases: Cases,
    cutoffs: Sequence[int] = (10, 50, 100),
    *,
    exclude_history: bool = True,
    categories: Int[Tensor, " items_plus_one"] | None = None,
) -> Evaluation:
    """Judge a recommender on held-out cases.

    Args:
        cutoffs: the N of the metrics; those beyond the catalogue are an error of `recommend`.
        exclude_history: leave the items of the past out of the lists. (A target that is in the
            past can then not be hit.)
        categories: the category of each item, 0 (and of padding) if it has none, as
            `FeatureTable.column` has them; adds Categories@N.

    Raises:
        ValueError: no case, or no cutoff, or one below 1, or not a category for each item.
    """
    if not len(cases):
        raise ValueError("there is no case to judge; the split holds out nothing")
    if not cutoffs or min(cutoffs) < 1:
        raise ValueError(f"cutoffs={tuple(cutoffs)}: expected at least one N, each >= 1")
    if categories is not None and len(categories) != cases.num_items + 1:
        raise ValueError(
            f"{len(categories)} categories for {cases.num_items} items; expected one for each, and "
            f"entry 0 for padding"
        )
    longest = max(cutoffs)
    parts: dict[str, list[Tensor]] = {}
    shown: dict[int, list[Tensor]] = {n: [] for n in cutoffs}
    at_once = max(1, MAX_LIST_ENTRIES // longest)
    for start in range(0, len(cases), at_once):
        stop = min(start + at_once, len(cases))
        lists = recommender.recommend(
            cases.histories.select(slice(start, stop)), longest, exclude_history=exclude_history
        ).items.cpu()
        for n in cutoffs:
            shown[n].append(lists[:, :n].unique())
        offsets = cases.offsets[start : stop + 1]
        targets = cases.targets[int(offsets[0]) : int(offsets[-1])]
        judged = _judge(lists, targets, offsets - offsets[0], cutoffs)
        if categories is not None:
            judged |= _variety(categories[lists], cutoffs)
        for name, value in judged.items():
            parts.setdefault(name, []).append(value)
    coverage = {}
    for n in cutoffs:
        distinct = torch.cat(shown[n]).unique()
        coverage[f"Coverage@{n}"] = int((distinct > 0).sum()) / cases.num_items
    return Evaluation({name: torch.cat(value) for name, value in parts.items()}, coverage)


def _judge(
    lists: Int[Tensor, "cases n"],
    targets: Int[Tensor, " targets"],
    offsets: Int[Tensor, " cases_plus_one"],
    cutoffs: Sequence[int],
) -> dict[str, Float[Tensor, " cases"]]:
    """The metrics of each case from its list and its targets."""
    sizes = offsets.diff()
    rows = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    ranks = _ranks(lists, rows, targets)
    # gain[t] = 1 / log2(rank + 1) of target t, summed into its case.
    discount = 1 / torch.log2(torch.arange(2, lists.shape[1] + 2, dtype=torch.float64))
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])
    values = {}
    for n in cutoffs:
        hit = ranks < n
        hits = torch.zeros(len(sizes), dtype=torch.float64)
        hits.index_add_(0, rows[hit], torch.ones(int(hit.sum()), dtype=torch.float64))
        gain = torch.zeros(len(sizes), dtype=torch.float64)
        gain.index_add_(0, rows[hit], discount[ranks[hit]])
        values[f"HitRate@{n}"] = (hits > 0).to(torch.float64)
        values[f"Recall@{n}"] = hits / sizes
        values[f"NDCG@{n}"] = gain / ideal[sizes.clamp(max=n)]
    return values


def _ranks(
    lists: Int[Tensor, "cases n"], rows: Int[Tensor, " targets"], targets: Int[Tensor, " targets"]
) -> Int[Tensor, " targets"]:
    """The place of each target in its case's list, from 0; n where it is not there."""
    n = lists.shape[1]
    at_once = max(1, MAX_LIST_ENTRIES // n)
    parts = []
    for start in range(0, len(targets), at_once):
        part = slice(start, start + at_once)
        # Each target stands in a list at most once; the column behind the last is always found.
        found = lists[rows[part]] == targets[part, None]
        parts.append(torch.nn.functional.pad(found.to(torch.int8), (0, 1), value=1).argmax(1))
    return torch.cat(parts)


def _variety(
    categories: Int[Tensor, "cases n"], cutoffs: Sequence[int]
) -> dict[str, Float[Tensor, " cases"]]:
    """Categories@N from the categories of each list's items, 0 for none."""
    inorder, places = categories.sort(dim=1, stable=True)
    first = torch.ones_like(inorder, dtype=torch.bool)
    first[:, 1:] = inorder[:, 1:] != inorder[:, :-1]
    first &= inorder > 0
    # Back from the order of categories to that of the list: new[:, j] says if item j brings one.
    new = torch.zeros_like(first).scatter(1, places, first)
    seen = new.cumsum(1)
    return {f"Categories@{n}": seen[:, n - 1].to(torch.float64) for n in cutoffs}


def history_categories(
    histories: Histories, categories: Int[Tensor, " items_plus_one"]
) -> Int[Tensor, " cases"]:
    """How many categories each past touches, its whole length; items without one do not count.

    Args:
        categories: as in `evaluate`.
    """
    rows, items = histories.pairs()
    width = int(categories.max()) + 1
    kinds = categories[items]
    pairs = torch.unique((rows * width + kinds)[kinds > 0])
    return torch.bincount(pairs // width, minlength=len(histories))
