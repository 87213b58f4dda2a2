"""Recorded results as tables and points: on a small file whose answers are plain."""

import pytest

from mindlib.evaluation import Estimate
from mindlib.lessons.n05_experiments.breadth import Group
from mindlib.lessons.n05_experiments.recorded_tables import (
    Point,
    by_n,
    changes,
    curves,
    factor_values,
    gains,
    study_points,
    study_table,
)


def row(name, value, *, study=None, deviation: float | None = 0.01):
    test = {
        "Recall@50": {"mean": value, "deviation": deviation, "seeds": [value - 0.1, value + 0.1]},
        "Recall@500": {"mean": 2 * value, "deviation": None, "seeds": [2 * value]},
        "Categories@50": {"mean": 10 * value, "deviation": None, "seeds": [10 * value]},
    }
    return {
        "study": study,
        "name": name,
        "seeds": [0, 1],
        "test": test,
        "validation": test,
        "curves": [[value / 2, value]],
    }


def said(metric, values):
    names = ("difference", "low", "high", "p_value")
    return {"metric": metric} | dict(zip(names, values, strict=True))


RESULTS = {
    "date": "2026-01-02T03:04:05+00:00",
    "command": "python benchmarks/experiments.py --data x",
    "machine": {"cpu": "a processor"},
    "data": {"name": "x", "protocol": "random 19:1", "test_cases": 1234},
    "rows": [
        row("YouTube DNN", 0.2),
        row("MIND-4", 0.25, deviation=None),
        {"study": None, "name": "broken", "failed": "NaN"},
        row("MIND-4 tuned", 0.25, study="sigma"),
        row("MIND-4 sigma=0.1", 0.24, study="sigma"),
    ],
    "comparisons": [
        {
            "study": None,
            "a": "MIND-4",
            "b": "YouTube DNN",
            "all": [said("Recall@50", (0.05, 0.04, 0.06, 0.001))],
            "by_history_categories": [
                {"bin": "1", "cases": 7, **said("Recall@50", (0.0, -0.1, 0.1, 0.9))},
                {"bin": "2", "cases": 9, **said("Recall@50", (0.2, 0.1, 0.3, 0.01))},
                {"bin": "2", "cases": 9, **said("HitRate@50", (0.5, 0.4, 0.6, 0.01))},
            ],
        },
        {
            "study": "sigma",
            "a": "MIND-4 sigma=0.1",
            "b": "MIND-4 tuned",
            "all": [said("Recall@50", (-0.01, -0.02, 0.001, 0.06))],
        },
    ],
}


def test_a_study_in_points_and_as_a_table():
    assert study_points(RESULTS, "sigma", "Recall@50") == [
        Point("tuned", 0.25, 0.01),
        Point("sigma=0.1", 0.24, 0.01),
    ]
    lines = study_table(RESULTS, "sigma", ("Recall@50",)).splitlines()
    assert lines[2] == "| tuned | 25.00 |  |"
    assert lines[3] == "| sigma=0.1 | 24.00 | -1.00 [-2.00, +0.10] |"
    with pytest.raises(ValueError, match=r"no recorded study 'power'; there is sigma"):
        study_points(RESULTS, "power", "Recall@50")


def test_gains_are_of_one_metric():
    assert gains(RESULTS, "MIND-4", "YouTube DNN", "Recall@50") == [
        Group("1", 7, Estimate(0.0, -0.1, 0.1)),
        Group("2", 9, Estimate(0.2, 0.1, 0.3)),
    ]
    with pytest.raises(ValueError, match="have not been compared in 'Recall@10'"):
        gains(RESULTS, "MIND-4", "YouTube DNN", "Recall@10")


def test_points_of_figures_are_the_seeds_values():
    assert by_n(RESULTS, "Recall", ("YouTube DNN", "not there")) == {
        "YouTube DNN": {50: [0.1, pytest.approx(0.3)], 500: [0.4]}
    }
    assert factor_values(RESULTS, "sigma", ("Recall@500",)) == {
        "Recall@500": {"validation": {0.1: [0.48]}, "test": {0.1: [0.48]}}
    }
    assert curves(RESULTS, "sigma") == {"sigma=0.1": [[0.12, 0.24]]}


def test_changes_are_those_to_the_setting_that_the_study_starts_from():
    assert changes(RESULTS, "sigma", "Recall@50") == [
        ("sigma=0.1", Estimate(-0.01, -0.02, 0.001, 0.06))
    ]
    assert changes(RESULTS, "sigma", "Recall@500") == [], "nobody has compared them"
