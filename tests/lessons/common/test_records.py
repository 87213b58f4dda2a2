"""Recorded results that notebooks show."""

import pytest

from mindlib.experiments.results import load_recorded
from mindlib.lessons.common.records import source


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("serving", {"num_items", "interests", "top", "index", "search", "recall", "default"}),
        ("load", {"stage"}),
    ],
)
def test_a_recorded_benchmark_has_what_its_notebook_shows(name, columns):
    results = load_recorded(name)
    assert source(results).startswith(f"recorded {results['date'][:10]} on ")
    assert f"by `python benchmarks/{name}.py" in source(results)
    assert all(columns | {"p50", "p99"} <= row.keys() for row in results["rows"])
