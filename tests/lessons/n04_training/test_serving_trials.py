"""Indexes measured: what reaches the engine, what is found, and what it costs in hits."""

import pytest
import torch

from mindlib.lessons.n04_training.serving_trials import (
    CountingIndex,
    curve,
    lost,
    recall,
    requests,
    served_model,
)
from mindlib.retrieval import ExactIndex, Recommendations, search
from mindlib.retrieval.faiss import FaissConfig

pytestmark = pytest.mark.slow

SERVED = served_model(users=200, epochs=1)


def test_the_counting_index_counts_and_is_exact():
    generator = torch.Generator().manual_seed(0)
    items, ids = torch.randn(40, 4, generator=generator), torch.arange(1, 41)
    interests = torch.randn(3, 2, 4, generator=generator)
    active = torch.tensor([[True, True], [True, False], [True, False]])
    index = CountingIndex(items, ids)
    found = search(index, interests, active, 5)
    right = search(ExactIndex.build(items, ids), interests, active, 5)
    assert torch.equal(found.items, right.items)
    assert index.queries == [4]
    assert index.widths == [5]


def test_recall_is_the_share_of_the_right_items():
    right = Recommendations(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.zeros(2, 3))
    found = Recommendations(torch.tensor([[3, 9, 1], [0, 0, 0]]), torch.zeros(2, 3))
    assert recall(right, right) == 1
    assert recall(found, right) == pytest.approx(2 / 4)


def test_an_exact_index_loses_nothing_and_a_coarse_one_does():
    flat, coarse = lost(
        SERVED.model, SERVED.split.test, [FaissConfig(), FaissConfig("IVF16,PQ2x4", nprobe=2)]
    )
    assert flat.recall == pytest.approx(1)
    assert flat.change.value == 0
    assert coarse.recall < 0.9
    assert coarse.change.low <= coarse.change.value <= coarse.change.high
    assert coarse.hit_rate == pytest.approx(flat.hit_rate + coarse.change.value)


def test_more_probes_find_more():
    threads = torch.get_num_threads()
    points, by_interests = curve(requests(num_items=12_000, dim=16, users=5, top=10))
    assert torch.get_num_threads() == threads
    assert points[0].recall == 1
    assert points[1].recall < points[-1].recall
    assert [p.interests for p in by_interests] == list(range(1, 8))
    assert all(0 < p.p50 <= p.p99 for p in points)
