"""Recorded results in rows and words."""

import pytest

from mindlib.lessons.common import records

SCALING = {
    "date": "2026-11-25T01:59:27+00:00",
    "command": "python benchmarks/scaling.py",
    "machine": {"cpu": "a processor"},
    "rows": [
        {"items": 10, "optimizer": "RowAdam", "milliseconds": 2.0, "gigabytes": 0.1},
        {"items": 10, "optimizer": "dense Adam", "milliseconds": 3.0, "gigabytes": 0.2},
        {"items": 99, "optimizer": "RowAdam", "milliseconds": 2.5, "gigabytes": 0.7},
        {"items": 99, "optimizer": "dense Adam", "skipped": "needs 9 GB"},
    ],
}


def row(items, interests, index, p50, *, default=False):
    recall = 1.0 if index == "ExactIndex" else 0.9
    return {
        "num_items": items, "interests": interests, "index": index, "search": "nprobe=3",
        "recall": recall, "p50": p50, "p99": 2 * p50, "default": default,
    }  # fmt: skip


SERVING = [
    row(10, 5, "torch.topk", 9.0),
    row(10, 5, "ExactIndex", 8.0),
    row(10, 5, "IVF4,SQfp16", 1.0, default=True),
    row(10, 5, "HNSW32", 3.0),
    row(20, 5, "IVF8,SQfp16", 2.0, default=True),
    row(20, 1, "IVF8,SQfp16", 1.0, default=True),
    row(20, 1, "torch.topk", 5.0),
]


def test_a_record_says_when_where_and_how(monkeypatch):
    monkeypatch.setattr(records, "load_recorded", lambda name: SCALING)
    found = records.record("scaling")
    assert found is not None
    assert found.source == ("recorded 2026-11-25 on a processor, by `python benchmarks/scaling.py`")
    assert found.rows is SCALING["rows"]


def test_what_was_not_recorded_is_none():
    assert records.record("nothing") is None


def test_a_size_that_did_not_fit_has_no_number():
    table = records.scaling_rows(SCALING["rows"])
    assert table[10] == {
        "RowAdam, ms": 2.0, "RowAdam, GB": 0.1, "dense Adam, ms": 3.0, "dense Adam, GB": 0.2,
    }  # fmt: skip
    assert table[99]["dense Adam, ms"] is None
    assert table[99]["RowAdam, ms"] == 2.5


def test_the_curves_are_the_inverted_files_and_the_exact_search():
    curves = records.serving_curves(SERVING)
    assert [p.name for p in curves["recorded, 10 items"]] == ["IVF4,SQfp16 nprobe=3", "exact"]
    assert [p.p50 for p in curves["recorded, 20 items"]] == [2.0]


def test_by_interests_is_the_default_of_the_largest():
    found = records.serving_by_interests(SERVING)
    assert [(p.interests, p.p50, p.p99) for p in found] == [(1, 1.0, 2.0), (5, 2.0, 4.0)]


@pytest.mark.parametrize("name", ["scaling", "serving"])
def test_what_came_with_mindlib_can_be_shown(name):
    found = records.record(name)
    if found is None:
        pytest.skip("not recorded yet")
    if name == "scaling":
        assert records.scaling_rows(found.rows)
    else:
        assert records.serving_curves(found.rows)
        assert records.serving_by_interests(found.rows)
