"""Metrics against their definitions, by hand and by plain Python."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import Cases, Histories
from mindlib.evaluation import evaluate, history_categories
from mindlib.retrieval import Recommendations


@dataclass(frozen=True)
class Fixed:
    """Recommends what it is told, by user."""

    lists: list[list[int]]

    def recommend(self, histories, n, *, exclude_history=True):
        rows = [self.lists[user - 1][:n] for user in histories.users.tolist()]
        return Recommendations(torch.tensor(rows), torch.zeros(len(rows), n))


def cases_of(targets, num_items=20):
    histories = Histories.from_lists([[1]] * len(targets))
    offsets = torch.tensor([0, *(len(t) for t in targets)]).cumsum(0)
    return Cases(histories, torch.tensor([i for t in targets for i in t]), offsets, num_items)


def test_metrics_by_hand():
    """Two users: hits at ranks 1 and 3 of two targets; no hit of one target."""
    result = evaluate(
        Fixed([[5, 6, 7, 8], [1, 2, 3, 4]]), cases_of([[5, 7], [9]], num_items=10), (1, 4)
    )
    assert result.values["HitRate@1"].tolist() == [1, 0]
    assert result.values["Recall@1"].tolist() == [0.5, 0]
    assert result.values["Recall@4"].tolist() == [1, 0]
    ideal = 1 + 1 / math.log2(3)
    assert result.values["NDCG@4"].tolist() == pytest.approx([(1 + 1 / 2) / ideal, 0])
    assert result.values["NDCG@1"].tolist() == [1, 0]  # ideal over min(targets, N)
    assert result.coverage == {"Coverage@1": 0.2, "Coverage@4": 0.8}
    assert result.means()["HitRate@4"] == 0.5


@given(
    seed=st.integers(0, 2**31),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    cutoffs=st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True),
)
def test_metrics_equal_plain_python(seed, sizes, cutoffs):
    generator = torch.Generator().manual_seed(seed)

    def sample(n):
        return (torch.randperm(20, generator=generator)[:n] + 1).tolist()

    lists, targets = [sample(12) for _ in sizes], [sorted(sample(size)) for size in sizes]
    result = evaluate(Fixed(lists), cases_of(targets), cutoffs)
    for n in cutoffs:
        for user in range(len(sizes)):
            hits = [rank for rank, item in enumerate(lists[user][:n], 1) if item in targets[user]]
            gain = sum(1 / math.log2(rank + 1) for rank in hits)
            best = sum(1 / math.log2(rank + 1) for rank in range(1, min(sizes[user], n) + 1))
            assert result.values[f"HitRate@{n}"][user] == bool(hits)
            assert result.values[f"Recall@{n}"][user].item() == pytest.approx(
                len(hits) / sizes[user]
            )
            assert result.values[f"NDCG@{n}"][user].item() == pytest.approx(gain / best)


def test_history_exclusion_is_passed_on():
    seen = []

    class Asked(Fixed):
        def recommend(self, histories, n, *, exclude_history=True):
            seen.append(exclude_history)
            return super().recommend(histories, n)

    for choice in (True, False):
        evaluate(Asked([[1]]), cases_of([[1]]), (1,), exclude_history=choice)
    assert seen == [True, False]


def test_bad_cutoffs_are_refused():
    with pytest.raises(ValueError, match=r"cutoffs=\(\): expected at least one N"):
        evaluate(Fixed([[1]]), cases_of([[1]]), ())


@given(seed=st.integers(0, 2**31), users=st.integers(1, 6), kinds=st.integers(1, 5))
def test_categories_in_a_list_and_in_a_past_equal_plain_python(seed, users, kinds):
    generator = torch.Generator().manual_seed(seed)
    categories = torch.randint(0, kinds + 1, (21,), generator=generator)
    categories[0] = 0

    def sample(n):
        return (torch.randperm(20, generator=generator)[:n] + 1).tolist()

    lists = [sample(12) for _ in range(users)]
    lists[0][9:] = [0, 0, 0]  # fewer were found for this one
    cutoffs = (1, 5, 12)
    result = evaluate(Fixed(lists), cases_of([[1]] * users), cutoffs, categories=categories)

    def count(items):
        return len({int(categories[item]) for item in items} - {0})

    for n in cutoffs:
        assert result.values[f"Categories@{n}"].tolist() == [count(x[:n]) for x in lists]
    pasts = [sample(size) * 2 for size in torch.randint(0, 15, (users,), generator=generator)]
    touched = history_categories(Histories.from_lists(pasts), categories)
    assert touched.tolist() == [count(past) for past in pasts]


def test_categories_that_are_not_those_of_the_items_are_refused():
    with pytest.raises(ValueError, match="20 categories for 20 items; expected one for each"):
        evaluate(Fixed([[1]]), cases_of([[1]]), (1,), categories=torch.zeros(20, dtype=torch.int64))


def test_many_targets_are_found_though_few_are_looked_for_at_once(monkeypatch):
    targets = [[1, 4, 9], [2], [7, 3]]
    lists = [[4, 2, 9], [5, 2, 1], [8, 6, 1]]
    whole = evaluate(Fixed(lists), cases_of(targets), (2, 3))
    monkeypatch.setattr("mindlib.evaluation.metrics.MAX_LIST_ENTRIES", 6)
    pieces = evaluate(Fixed(lists), cases_of(targets), (2, 3))
    assert whole.values["Recall@3"].tolist() == pytest.approx([2 / 3, 1, 0])
    for name, values in whole.values.items():
        assert torch.equal(values, pieces.values[name])
