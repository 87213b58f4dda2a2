"""Metrics over the whole catalogue (§4.1): HitRate, Recall, NDCG, coverage, categories.

A case consists of a history and of the set T of the items that followed it, the targets. L is the
recommended list of N items.

- HitRate@N: 1 if any target is in L. With one target for each case this is Eq. 12.
- Recall@N: the share of the targets that are in L.
- NDCG@N: sum over hits of 1 / log2(rank + 1), divided by the same sum for the ideal list, whose
  first min(|T|, N) items are hits.
- Coverage@N: the share of the catalogue that is in at least one list.
- Categories@N: the number of distinct categories among the N items.
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

# Maximum number of list entries (cases x N) in memory at once.
MAX_LIST_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Evaluation:
    """Metric values of a model for each evaluation case, for example for paired tests.

    Attributes:
        values: for each metric ("HitRate@10", …), the value of each case. Categories@N is a number
            of categories; all others are between 0 and 1.
        coverage: Coverage@N for each N.
    """

    values: dict[str, Float[Tensor, " cases"]]
    coverage: dict[str, float]

    def means(self) -> dict[str, float]:
        """Return the mean of each metric over the cases, and the coverages."""
        return {name: float(v.mean()) for name, v in self.values.items()} | self.coverage


def evaluate(
    recommender: Recommender,
    cases: Cases,
    cutoffs: Sequence[int] = (10, 50, 100),
    *,
    exclude_history: bool = True,
    categories: Int[Tensor, " items_plus_one"] | None = None,
) -> Evaluation:
    """Evaluate a recommender on held-out cases.

    Args:
        cutoffs: the N of the metrics; an N that exceeds the catalogue is refused by `recommend`.
        exclude_history: whether to leave the items of the history out of the lists. (A target that
            is in the history then cannot be hit.)
        categories: the category code of each item, as returned by `FeatureTable.column`, with 0
            for padding and for items without a category; adds Categories@N.

    Raises:
        ValueError: there is no case or no cutoff, a cutoff is below 1, or `categories` does not
            have one entry for each item and one for padding.
    """
    if not len(cases):
        raise ValueError("there is no case to evaluate; use a split that holds out some cases")
    if not cutoffs or min(cutoffs) < 1:
        raise ValueError(f"cutoffs={tuple(cutoffs)}: expected at least one N, each >= 1")
    if categories is not None and len(categories) != cases.num_items + 1:
        raise ValueError(
            f"{len(categories)} categories for {cases.num_items} items; expected one for each item "
            f"and entry 0 for padding"
        )
    longest = max(cutoffs)
    parts: dict[str, list[Tensor]] = {}
    is_recommended = {n: torch.zeros(cases.num_items + 1, dtype=torch.bool) for n in cutoffs}
    step = max(1, MAX_LIST_ENTRIES // longest)
    for start in range(0, len(cases), step):
        some = cases[start : start + step]
        found = recommender.recommend(some.histories, longest, exclude_history=exclude_history)
        lists = found.items.cpu()
        for n in cutoffs:
            is_recommended[n][lists[:, :n]] = True
        values = _accuracy(lists, some, cutoffs)
        if categories is not None:
            for n in cutoffs:
                ordered = categories[lists[:, :n]].sort(1).values  # category 0 does not count
                is_first = ordered.diff(dim=1, prepend=torch.zeros_like(ordered[:, :1])) > 0
                values[f"Categories@{n}"] = is_first.sum(1).to(torch.float64)
        for name, value in values.items():
            parts.setdefault(name, []).append(value)
    coverage = {
        f"Coverage@{n}": int(items[1:].sum()) / cases.num_items
        for n, items in is_recommended.items()
    }
    return Evaluation({name: torch.cat(value) for name, value in parts.items()}, coverage)


def _accuracy(
    lists: Int[Tensor, "cases n"], cases: Cases, cutoffs: Sequence[int]
) -> dict[str, Float[Tensor, " cases"]]:
    """Compute HitRate, Recall and NDCG of each case."""
    rows, sizes, ranks = cases.rows, cases.offsets.diff(), _ranks(lists, cases)
    # Entry r is the gain of a hit at zero-based rank r; the last entry is the gain of a miss, 0.
    discount = 1 / torch.log2(torch.arange(2, lists.shape[1] + 2, dtype=torch.float64))
    discount = torch.cat([discount, discount.new_zeros(1)])
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])
    values = {}
    for n in cutoffs:
        is_hit = (ranks < n).double()
        hits = rows.bincount(is_hit, len(sizes))
        gain = rows.bincount(is_hit * discount[ranks], len(sizes))
        values[f"HitRate@{n}"] = (hits > 0).to(torch.float64)
        values[f"Recall@{n}"] = hits / sizes
        values[f"NDCG@{n}"] = gain / ideal[sizes.clamp(max=n)]
    return values


def _ranks(lists: Int[Tensor, "cases n"], cases: Cases) -> Int[Tensor, " targets"]:
    """Return the zero-based position of each target in the list of its case; n if it is absent."""
    n = lists.shape[1]
    step = max(1, MAX_LIST_ENTRIES // n)
    parts = []
    for rows, targets in zip(cases.rows.split(step), cases.targets.split(step), strict=True):
        # A target is in a list at most once; the appended column matches if no other does.
        matches = lists[rows] == targets[:, None]
        parts.append(torch.nn.functional.pad(matches.to(torch.int8), (0, 1), value=1).argmax(1))
    return torch.cat(parts)


def history_categories(
    histories: Histories, categories: Int[Tensor, " items_plus_one"]
) -> Int[Tensor, " cases"]:
    """Count the distinct categories in each history; items without a category do not count.

    Args:
        categories: the category of each item, as in `evaluate`.
    """
    rows, items = histories.pairs()
    width = int(categories.max()) + 1
    present = categories[items]
    pairs = torch.unique((rows * width + present)[present > 0])
    return torch.bincount(pairs // width, minlength=len(histories))
