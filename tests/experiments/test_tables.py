"""Summaries, comparisons and tables equal plain Python on small made-up runs."""

import statistics

import pytest
import torch

from mindlib.evaluation import Evaluation, compare_seeds
from mindlib.experiments.tables import (
    compare_models,
    markdown_table,
    results_table,
    summarize,
    summarize_models,
)
from mindlib.experiments.trial import Trial, TrialRun
from mindlib.models import Popularity


def made_up(model: str, seed: int, values: list[float]) -> TrialRun:
    evaluation = Evaluation(
        {"HitRate@5": torch.tensor(values, dtype=torch.float64)}, {"Coverage@5": sum(values) / 8}
    )
    trial = Trial(model, Popularity, seed=seed)
    return TrialRun(trial, {"test": evaluation}, None, float(seed), ("0.1",))


RUNS = [
    made_up("A", 0, [1, 0, 1, 0]),
    made_up("A", 1, [1, 1, 1, 0]),
    made_up("A", 2, [0, 0, 0, 1]),
    made_up("B", 0, [0, 0, 1, 0]),
]


def test_mean_and_deviation_over_seeds_equal_plain_python():
    summaries = summarize_models(RUNS)
    assert list(summaries) == ["A", "B"]
    for metric, by_seed in (("HitRate@5", [0.5, 0.75, 0.25]), ("Coverage@5", [0.25, 0.375, 0.125])):
        found = summaries["A"][metric]
        assert found["mean"] == pytest.approx(statistics.mean(by_seed))
        assert found["deviation"] == pytest.approx(statistics.stdev(by_seed))
        assert found["seeds"] == by_seed
    assert summarize(RUNS[3:])["HitRate@5"] == {"mean": 0.25, "deviation": None, "seeds": [0.25]}


def test_models_are_compared_case_by_case_over_all_seeds():
    a = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    b = torch.tensor([[0, 0, 1, 0]], dtype=torch.float64)
    result = compare_models(RUNS, "A", "B", "HitRate@5")
    assert result == compare_seeds(a, b)
    assert result.value == pytest.approx(0.25)


def test_an_unknown_model_is_refused_naming_those_that_ran():
    with pytest.raises(ValueError, match="no run of 'MIND'; there are runs of A, B"):
        compare_models(RUNS, "A", "MIND", "HitRate@5")


def test_numbers_are_aligned_to_the_right_and_bars_are_escaped():
    assert markdown_table(["length |e|", "n"], [["x", None], ["|e| = 1", 2.5]]).splitlines() == [
        "| length \\|e\\| | n |",
        "|---|--:|",
        "| x | None |",
        "| \\|e\\| = 1 | 2.5 |",
    ]
    assert markdown_table(["a", "b", "c"], [], text_columns=2).endswith("\n|---|---|--:|")


def test_results_are_in_percent_with_their_spread_and_the_best_is_bold():
    assert results_table(summarize_models(RUNS), ["HitRate@5", "Coverage@5"]).splitlines() == [
        "| model | seeds | HitRate@5 | Coverage@5 |",
        "|---|--:|--:|--:|",
        "| A | 3 | **50.00** ± 25.00 | **25.00** ± 12.50 |",
        "| B | 1 | 25.00 | 12.50 |",
    ]
