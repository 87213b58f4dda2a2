"""The entropy of histories, and recorded differences."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data.histories import Histories
from mindlib.evaluation import Estimate
from mindlib.lessons.n05_experiments.gains import (
    category_entropy,
    recorded_groups,
    study_changes,
)

# Padding's entry is a category here, so that counting it is noticed.
CATEGORIES = torch.tensor([2, 1, 1, 2, 3, 0, 2])
RNG = np.random.default_rng(0)


@given(st.lists(st.lists(st.integers(1, 6), max_size=7), min_size=1, max_size=5))
def test_entropy_is_what_counting_gives(pasts: list[list[int]]):
    found = category_entropy(Histories.from_lists(pasts).window(4), CATEGORIES)
    for row, past in enumerate(pasts):
        counts = Counter(code for item in past[-4:] if (code := int(CATEGORIES[item])))
        size = sum(counts.values())
        expected = sum(-n / size * math.log2(n / size) for n in counts.values())
        assert found[row] == pytest.approx(expected, abs=1e-12)


def difference(study: str | None, a: str, b: str, **groups: object) -> dict[str, object]:
    facts = {"metric": "HitRate@50", "difference": 0.02, "low": 0.01, "high": 0.03, "p_value": 0.0}
    return {"study": study, "a": a, "b": b, "all": [facts]} | groups


def test_recorded_studies_and_groups_are_read_in_their_order():
    group = {"least": 1, "most": 1200, "cases": 10, "difference": 0.1, "low": 0.0, "high": 0.2}
    slope = {"value": 0.01, "low": 0.0, "high": 0.02, "p_value": 0.05}
    groups = {"length": {"per_doubling": slope, "groups": [group]}}
    names = ("tuned", "power=0", "power=inf")
    results = {
        "rows": [{"study": "power", "name": f"MIND-4 {name}"} for name in names],
        "comparisons": [
            difference(None, "MIND-4", "MIND-1", groups=groups),
            difference("power", "MIND-4 power=0", "MIND-4 tuned"),
            difference("power", "MIND-4 power=inf", "MIND-4 power=0"),
        ],
    }
    (label, estimate), (last, doubling) = recorded_groups(results, "MIND-4", "MIND-1", "length")
    assert (label, last) == ("1–1,200", "per doubling")
    assert estimate
    assert (estimate.value, estimate.low, estimate.high) == (0.1, 0.0, 0.2)
    assert doubling == Estimate(0.01, 0.0, 0.02, 0.05)
    assert recorded_groups(results, "MIND-4", "WALS", "length") == []
    assert recorded_groups(results, "MIND-4", "MIND-1", "categories") == []
    ((label, estimate),) = study_changes(results, "power", "HitRate@50", "MIND-4 power=0", "p")
    assert label == "p = ∞"
    assert estimate
