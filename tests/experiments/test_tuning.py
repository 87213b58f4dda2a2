"""The candidate of each row is the one that validation chooses, now or as recorded."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.evaluation import evaluate
from mindlib.experiments import execution, tuning
from mindlib.experiments.execution import run_trial
from mindlib.experiments.search_space import TRAINING, search_space
from mindlib.experiments.tuning import (
    Tuning,
    run_seeds,
    tune_settings,
)

QUICK = replace(TRAINING, epochs=1, negatives=32, monitor="Recall@10")
SPACE = search_space(QUICK, {"dim": 4, "hidden": (), "history_length": 8})
OPTIONS = {"cutoffs": (5, 10), "metric": "Recall@10", "device": "cpu"}


@pytest.fixture(scope="module")
def split():
    config = PlantedConfig(num_users=60, num_clusters=6, items_per_cluster=8)
    return leave_last_out(planted_interests(config).log)


@pytest.mark.slow
def test_tuning_chooses_the_best_on_validation_without_the_test(split, tmp_path, monkeypatch):
    seen, reported = Mock(wraps=evaluate), []
    monkeypatch.setattr(execution, "evaluate", seen)
    found = tune_settings(
        split, SPACE["YouTube DNN"], cache=tmp_path, report=reported.append, **OPTIONS
    )
    assert seen.call_count == len(reported) == len(found.values) == 8
    assert all(call.args[1] is split.validation for call in seen.mock_calls)
    assert not list(tmp_path.glob("*/test-*"))
    values = [
        run_trial(split, trial, (5, 10), tmp_path / "other", device="cpu").evaluations
        for trial in SPACE["YouTube DNN"]
    ]
    assert list(found.values) == [
        pytest.approx(value["validation"].means()["Recall@10"]) for value in values
    ]
    assert len(set(found.values)) > 1
    assert found.best == SPACE["YouTube DNN"][int(np.argmax(found.values))]


def test_a_single_candidate_is_chosen_unseen(split):
    found = tune_settings(split, SPACE["Popularity"], **OPTIONS)
    assert found == Tuning(SPACE["Popularity"][0], tuple(SPACE["Popularity"]))


def test_a_candidate_whose_training_diverges_is_not_chosen(split, tmp_path, monkeypatch):
    real, diverging = run_trial, list(SPACE["ItemCF"][:7])

    def broken(split, trial, *args, **options):
        if trial in diverging:
            raise FloatingPointError("the loss is nan")
        return real(split, trial, *args, **options)

    monkeypatch.setattr(tuning, "run_trial", broken)
    with pytest.warns(UserWarning, match="ItemCF: the loss is nan"):
        found = tune_settings(split, SPACE["ItemCF"], cache=tmp_path, **OPTIONS)
    assert found.best == SPACE["ItemCF"][7]
    assert np.isnan(found.values[:7]).all()
    diverging.append(SPACE["ItemCF"][7])
    with (
        pytest.warns(UserWarning, match="the loss is nan"),
        pytest.raises(FloatingPointError, match="every candidate of ItemCF diverged"),
    ):
        tune_settings(split, SPACE["ItemCF"], cache=tmp_path, **OPTIONS)


@pytest.mark.parametrize(
    ("indices", "metric", "message"),
    [
        ((0, 1), "Recall@10", "2 different candidates of ItemCF: expected 8"),
        ((), "Recall@10", "0 different candidates of no model: expected 8"),
        ((*range(7), 0), "Recall@10", "7 different candidates of ItemCF: expected 8"),
        (range(8), "Recall@7", r"metric='Recall@7': expected one with N among \(5, 10\)"),
    ],
)
def test_unequal_budgets_are_refused(split, indices, metric, message):
    with pytest.raises(ValueError, match=message):
        tune_settings(split, [SPACE["ItemCF"][i] for i in indices], cutoffs=(5, 10), metric=metric)


@pytest.mark.parametrize("name", SPACE)
def test_a_trial_is_random_if_the_seed_changes_its_result(name):
    assert SPACE[name][0].is_random == (name not in ("ItemCF", "Popularity"))


@pytest.mark.slow
def test_each_seed_is_run_and_deterministic_models_once(split, tmp_path):
    trials = [SPACE["Popularity"][0], SPACE["MIND-4"][0]]
    options = {"cutoffs": (10,), "cache": tmp_path, "parts": ("test",), "device": "cpu"}
    runs = run_seeds(split, trials, seeds=2, **options)
    assert [(run.model, run.trial.seed) for run in runs] == [
        ("Popularity", 0),
        ("MIND-4", 0),
        ("MIND-4", 1),
    ]
    assert list(runs[0].evaluations) == ["test"]
    first, second = (run.evaluation.values["Recall@10"] for run in runs[1:])
    assert not torch.equal(first, second)


def test_no_seed_is_refused(split):
    with pytest.raises(ValueError, match="seeds=0"):
        run_seeds(split, [], seeds=0, cutoffs=(10,))
