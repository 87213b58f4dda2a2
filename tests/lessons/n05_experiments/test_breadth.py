"""How many categories a history touches, and whom several interests help."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mindlib.data.histories import Histories, History
from mindlib.evaluation import Estimate, compare
from mindlib.lessons.n05_experiments.breadth import Group, breadth, by_breadth

# Padding's entry is a category here, so that whoever counts it is found out.
CATEGORIES = torch.tensor([2, 1, 1, 2, 3, 0, 2])


def windows(*pasts: list[int], length: int = 4) -> History:
    return Histories.from_lists(pasts).window(length)


@given(st.lists(st.lists(st.integers(1, 6), max_size=7), min_size=1, max_size=5))
def test_breadth_is_what_counting_gives(pasts: list[list[int]]):
    found = breadth(windows(*pasts), CATEGORIES)
    for row, past in enumerate(pasts):
        codes = [int(CATEGORIES[item]) for item in past[-4:]]
        counts = Counter(code for code in codes if code)
        size = sum(counts.values())
        entropy = sum(-n / size * math.log2(n / size) for n in counts.values())
        assert found.touched[row] == len(counts)
        assert found.entropy[row].item() == pytest.approx(entropy, abs=1e-12)
        assert found.known[row] == (0 not in codes)


def test_a_missing_category_is_told():
    with pytest.raises(ValueError, match="item 6, the categories end with item 4"):
        breadth(windows([1, 6]), CATEGORIES[:5])


def metrics() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    touched = torch.randint(0, 9, (400,), generator=draw)
    b = torch.rand(3, 400, generator=draw)
    return b[:2] + 0.1 * (touched >= 4), b, touched


def test_each_group_has_the_paired_difference_of_its_own_users():
    a, b, touched = metrics()
    groups = by_breadth(a, b, touched, [1, 2, 4, 8])
    assert [g.label for g in groups] == ["1", "2 to 3", "4 to 7", "8 or more"]
    for group, (low, high) in zip(groups, [(1, 1), (2, 3), (4, 7), (8, 99)], strict=True):
        inside = (touched >= low) & (touched <= high)
        paired = compare(a.double().mean(0)[inside], b.double().mean(0)[inside])
        assert group.users == int(inside.sum())
        assert group.difference is not None
        assert group.difference.value == pytest.approx(paired.value)
        assert group.difference.low == pytest.approx(paired.low)


def test_a_group_of_one_user_has_no_interval():
    values = torch.rand(1, 3)
    groups = by_breadth(values, values, torch.tensor([1, 2, 2]), [1, 2, 5])
    assert [(g.users, g.difference is None) for g in groups] == [(1, True), (2, False), (0, True)]


@pytest.mark.parametrize("starts", [[], [2, 1], [1, 1]])
def test_starts_ascend(starts: list[int]):
    with pytest.raises(ValueError, match="expected ascending numbers"):
        by_breadth(torch.rand(1, 3), torch.rand(1, 3), torch.ones(3, dtype=torch.int64), starts)


def test_other_users_are_refused():
    with pytest.raises(ValueError, match="3 and 3 users of the metric, 2 histories"):
        by_breadth(torch.rand(1, 3), torch.rand(1, 3), torch.ones(2, dtype=torch.int64), [1])


def test_a_group_says_in_points_whom_it_helps():
    text = str(Group("4-5", 1234, Estimate(0.0161, 0.0084, 0.0238)))
    assert text == "4-5 categories, 1,234 users: +1.61 [+0.84, +2.38] points"
    assert str(Group("1", 1, None)) == "1 categories, 1 users: too few for an interval"
