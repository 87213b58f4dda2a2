"""The page of speed has the recorded times of a training step."""

from pathlib import Path

import pytest

from mindlib.experiments.results import load_recorded

PAGE = Path(__file__).resolve().parents[2] / "docs" / "speed.md"


@pytest.mark.parametrize(
    ("items", "row"),
    [
        (100_000, "time of a training step, dense Adam / sparse Adam, 100,000 items"),
        (1_000_000, "the same, 1,000,000 items"),
        (10_000_000, "the same, 10,000,000 items"),
    ],
)
def test_the_page_has_the_recorded_ratio_of_dense_to_sparse_adam(items, row):
    recorded = load_recorded("scaling")["rows"]
    times = {r["optimizer"]: r["milliseconds"] for r in recorded if r["items"] == items}
    ratio = times["dense Adam"] / times["RowAdam"]
    assert f"| {row} | {ratio:.2g} |" in PAGE.read_text(encoding="utf-8")
