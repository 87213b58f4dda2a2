"""Recorded results in rows and words."""

import pytest

from mindlib.lessons.common import records

SCALING = {
    "date": "2026-11-25T01:59:27+00:00",
    "command": "python benchmarks/scaling.py",
    "machine": {"cpu": "a processor"},
    "rows": [{"items": 10, "optimizer": "RowAdam", "milliseconds": 2.0, "gigabytes": 0.1}],
}


def test_a_record_says_when_where_and_how(monkeypatch):
    monkeypatch.setattr(records, "load_recorded", lambda name: SCALING)
    found = records.record("scaling")
    assert found is not None
    assert found.source == ("recorded 2026-11-25 on a processor, by `python benchmarks/scaling.py`")
    assert found.rows is SCALING["rows"]


def test_what_was_not_recorded_is_none():
    assert records.record("nothing") is None


def test_the_recorded_latencies_have_what_notebook_04_shows():
    found = records.record("serving")
    if found is None:
        pytest.skip("not recorded")
    columns = {
        "num_items",
        "interests",
        "top",
        "index",
        "search",
        "recall",
        "p50",
        "p99",
        "default",
    }
    assert all(columns <= row.keys() for row in found.rows)
    assert any(row["default"] for row in found.rows)
