"""What is recorded of runs equals plain Python, and says who gains."""

import dataclasses
import math
import statistics

import pytest
import torch

from mindlib.evaluation import Evaluation, compare
from mindlib.experiments.results import (
    bins_of,
    by_bin,
    over_seeds,
    paired,
    rounded,
    row_of,
    summary_of,
)
from mindlib.experiments.trial import Trial, TrialRun, Tuned
from mindlib.models import ItemCF, ItemCFConfig

CODE = ("c" * 64,)
TOUCHED = torch.tensor([0, 1, 1, 2, 3, 4, 5, 6, 8, 9, 40])


def made_up(seed: int, shift: float = 0.0) -> TrialRun:
    generator = torch.Generator().manual_seed(seed)

    def evaluation(cases: int) -> Evaluation:
        values = {
            name: torch.rand(cases, generator=generator, dtype=torch.float64) + shift
            for name in ("Recall@50", "NDCG@10", "Categories@50")
        }
        return Evaluation(values, {"Coverage@50": 0.25 + seed / 8})

    trial = Trial("ItemCF", ItemCF, ItemCFConfig(neighbors=7), seed=seed)
    parts = {"validation": evaluation(5), "test": evaluation(len(TOUCHED))}
    return TrialRun(trial, parts, None, float(seed), CODE, {})  # pyright: ignore[reportArgumentType]


RUNS = [made_up(seed) for seed in range(3)]


def test_mean_and_deviation_are_over_the_seeds():
    found = summary_of(RUNS, "test")
    by_seed = [float(run.evaluation.values["Recall@50"].mean()) for run in RUNS]
    assert found["Recall@50"]["mean"] == pytest.approx(statistics.mean(by_seed))
    assert found["Recall@50"]["deviation"] == pytest.approx(statistics.stdev(by_seed))
    assert found["Coverage@50"]["mean"] == pytest.approx(0.375)
    assert summary_of(RUNS[:1], "test")["Recall@50"]["deviation"] is None


def test_every_case_is_averaged_over_the_seeds():
    found = over_seeds(RUNS, "test")["NDCG@10"]
    for case in range(len(TOUCHED)):
        values = [float(run.evaluation.values["NDCG@10"][case]) for run in RUNS]
        assert float(found[case]) == pytest.approx(statistics.mean(values))


def test_every_case_is_in_one_bin():
    bins = bins_of(TOUCHED)
    assert torch.stack(list(bins.values())).sum(0).tolist() == [1] * len(TOUCHED)
    counts = {name: TOUCHED[inside].tolist() for name, inside in bins.items()}
    assert counts == {
        "0": [0], "1": [1, 1], "2": [2], "3": [3], "4-5": [4, 5], "6-8": [6, 8], "9+": [9, 40],
    }  # fmt: skip
    assert list(bins_of(torch.tensor([2, 2]))) == ["2"]


def test_the_mean_of_a_bin_is_that_of_its_cases():
    values = over_seeds(RUNS, "test")
    row = next(row for row in by_bin(values, TOUCHED) if row["bin"] == "4-5")
    assert row["cases"] == 2
    assert row["Recall@50"] == pytest.approx(float(values["Recall@50"][[5, 6]].mean()))


def test_a_row_says_what_was_run_and_what_came_of_it():
    other = dataclasses.replace(RUNS[0].trial, config=ItemCFConfig("bm25", neighbors=7))
    tuned = Tuned(RUNS[0].trial, (other, RUNS[0].trial), [0.1, 0.2], "Recall@50")
    row = row_of(RUNS, TOUCHED, tuned)
    assert (row["name"], row["seeds"], row["seconds"]) == ("ItemCF", [0, 1, 2], 1.0)
    assert row["codes"] == list(CODE)
    assert row["config"]["neighbors"] == 7
    assert row["tuned"] == {
        "on": "validation Recall@50",
        "candidates": [
            {"config.similarity": "bm25", "value": 0.1},
            {"config.similarity": "cosine", "value": 0.2},
        ],
        "chosen": 1,
    }
    assert row["test"] == summary_of(RUNS, "test")
    assert row["validation"] == summary_of(RUNS, "validation")
    assert [part["bin"] for part in row["by_history_categories"]] == list(bins_of(TOUCHED))
    assert "by_history_categories" not in row_of(RUNS, None, None)


def test_models_are_compared_over_users_and_within_bins_but_not_in_categories():
    a = over_seeds([made_up(seed, 0.1) for seed in range(3, 5)], "test")
    b = over_seeds(RUNS, "test")
    found = paired(a, b, TOUCHED)
    assert [said["metric"] for said in found["all"]] == ["Recall@50", "NDCG@10"]
    whole = compare(a["Recall@50"], b["Recall@50"])
    assert found["all"][0] == {
        "metric": "Recall@50",
        "difference": whole.value,
        "low": whole.low,
        "high": whole.high,
        "p_value": whole.p_value,
    }
    assert {said["metric"] for said in found["by_history_categories"]} == {"Recall@50"}
    last = found["by_history_categories"][-1]
    assert (last["bin"], last["cases"]) == ("9+", 2)
    inside = TOUCHED >= 9
    assert last["difference"] == pytest.approx(
        float((a["Recall@50"] - b["Recall@50"])[inside].mean())
    )
    bins = {said["bin"] for said in found["by_history_categories"]}
    assert bins == {"1", "4-5", "6-8", "9+"}  # of one case there is no spread
    assert list(paired(a, b, None)) == ["all"]


def test_floats_are_rounded_wherever_they_are_and_no_number_is_nan():
    value = {"a": [1 / 3, (2, math.nan)], "b": {"c": 123456789.0, "d": "x", "e": None}}
    assert rounded(value) == {
        "a": [0.333333, [2, None]],
        "b": {"c": 123457000.0, "d": "x", "e": None},
    }
