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
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.planted import PlantedWorld
from mindlib.data.splits import Cases
from mindlib.retrieval import InterestModel, Recommender

# Lists held at once: cases x N.
PLACES_AT_ONCE = 1 << 22


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
    at_once = max(1, PLACES_AT_ONCE // longest)
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
    at_once = max(1, PLACES_AT_ONCE // n)
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


class Comparison(NamedTuple):
    """A paired comparison of two models on the same cases.

    Attributes:
        difference: mean of a - b.
        low, high: its 95 % confidence interval.
        p_value: of the two-sided paired t-test.
    """

    difference: float
    low: float
    high: float
    p_value: float


def compare(a: Float[Tensor, " cases"], b: Float[Tensor, " cases"]) -> Comparison:
    """Is a better than b, case by case?

    Args:
        a, b: values of one metric for the same cases; average over seeds first, if there are any.

    Raises:
        ValueError: the two have different lengths, or fewer than two cases.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"{len(a)} and {len(b)} cases: a paired test needs the same, at least two")
    difference = (a - b).numpy()
    if not difference.any():
        return Comparison(0.0, 0.0, 0.0, 1.0)
    mean, error = difference.mean(), stats.sem(difference)
    student = stats.t(df=len(difference) - 1)
    reach = student.ppf(0.975) * error
    p_value = 2 * student.sf(abs(mean) / error) if error > 0 else 0.0
    return Comparison(float(mean), float(mean - reach), float(mean + reach), float(p_value))


def interest_cosine(
    vectors: Float[Tensor, "users interests dim"], active: Bool[Tensor, "users interests"]
) -> Float[Tensor, " users"]:
    """Mean cosine between a user's active interests: near 1 is interest collapse.

    NaN for a user with one interest, of whom there is nothing to compare.
    """
    unit = torch.nn.functional.normalize(vectors, dim=2)
    cosine = unit @ unit.transpose(1, 2)
    pairs = (active[:, :, None] & active[:, None, :]).triu(diagonal=1)
    return (cosine * pairs).sum((1, 2)) / pairs.sum((1, 2))


def routing_entropy(
    coupling: Float[Tensor, "users interests length"], active: Bool[Tensor, "users interests"]
) -> Float[Tensor, " users"]:
    """How evenly an interest draws on the behaviours, from 0 (one only) to 1 (all alike).

    The entropy of an interest's coupling, made to sum to 1 over the behaviours and divided by the
    logarithm of their number; the mean over active interests. Near 0 is routing collapse: each
    interest copies one behaviour. NaN for a user with fewer than two behaviours.
    """
    behaviors = (coupling > 0).any(1).sum(1)
    share = coupling / coupling.sum(2, keepdim=True).clamp(min=torch.finfo(coupling.dtype).tiny)
    entropy = torch.special.entr(share).sum(2) * active
    normalised = entropy.sum(1) / active.sum(1) / torch.log(behaviors.to(coupling.dtype))
    return torch.where(behaviors > 1, normalised, torch.nan)


def recovered_interests(
    model: InterestModel, world: PlantedWorld, histories: Histories, *, nearest: int = 10
) -> Float[Tensor, " users"]:
    """The share of each user's planted interests that one of her vectors has found.

    A vector stands for the cluster that has most of its `nearest` best items.
    """
    vectors, active = model.interests(histories)
    items = model.item_vectors()
    clusters = torch.from_numpy(world.item_clusters)
    best = (vectors.flatten(0, 1) @ items[1:].T).topk(nearest).indices + 1
    votes = torch.nn.functional.one_hot(clusters[best], world.interests.shape[1]).sum(1)
    named = votes.argmax(1).unflatten(0, active.shape)
    found = torch.zeros((len(histories), world.interests.shape[1]), dtype=torch.bool)
    rows, columns = active.nonzero(as_tuple=True)
    found[rows, named[rows, columns]] = True
    truth = torch.from_numpy(world.interests)[histories.users]
    return (found & truth).sum(1) / truth.sum(1)
