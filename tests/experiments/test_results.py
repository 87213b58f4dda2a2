"""Recorded results: the rows that are written, and how they are read."""

import pytest

from mindlib.experiments.results import (
    load_recorded,
    recorded_rows,
    recorded_table,
)


def row(name, value, study=None):
    test = {
        "Recall@50": {"mean": value, "deviation": 0.01, "seeds": [value, value]},
        "Categories@50": {"mean": 10 * value, "deviation": None, "seeds": [10 * value]},
    }
    return {"study": study, "name": name, "test": test}


RESULTS = {
    "rows": [
        row("YouTube DNN", 0.2),
        row("MIND-4", 0.25),
        {"study": None, "name": "diverged", "failed": "NaN"},
        row("MIND-4 sigma=0.1", 0.24, "sigma"),
    ],
}


def test_rows_are_those_of_the_table_or_of_one_study_without_failed_ones():
    assert list(recorded_rows(RESULTS)) == ["YouTube DNN", "MIND-4"]
    assert list(recorded_rows(RESULTS, "sigma")) == ["MIND-4 sigma=0.1"]


def test_a_recorded_table_has_the_metrics_that_all_rows_have():
    table = recorded_table(RESULTS, ("Recall@50", "Recall@1000", "Categories@50"))
    assert table.splitlines() == [
        "| model | seeds | Recall@50 | Categories@50 |",
        "|---|--:|--:|--:|",
        "| YouTube DNN | 2 | 20.00 ± 1.00 | 2.00 |",
        "| MIND-4 | 2 | **25.00** ± 1.00 | **2.50** |",
    ]


def test_a_recorded_result_is_read_from_the_package(tmp_path, monkeypatch):
    files = {"mindlib.experiments": tmp_path}
    monkeypatch.setattr("mindlib.experiments.results.resources.files", files.get)
    (tmp_path / "recorded").mkdir()
    for name, text in (("b.json", '{"rows": [1]}'), ("a.json", "{}")):
        (tmp_path / "recorded" / name).write_text(text, encoding="utf-8")
    assert load_recorded("b") == {"rows": [1]}
    with pytest.raises(FileNotFoundError, match=r"no recorded result 'c'; there is a, b\. See"):
        load_recorded("c")
    for damaged in ('": [{"', '{"rows": [', ""):
        (tmp_path / "recorded" / "a.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(ValueError, match=r"a\.json is damaged .*; install mindlib again"):
            load_recorded("a")
