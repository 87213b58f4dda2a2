"""The setting of each row: where validation says, and nowhere else."""

from dataclasses import replace

import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.experiments.search_space import TRAINING, search_space
from mindlib.experiments.tuning import recorded_choices, recorded_settings, run_seeds, tune_settings

QUICK = replace(TRAINING, epochs=1, negatives=32, monitor="Recall@10")


@pytest.fixture(scope="module")
def split():
    config = PlantedConfig(num_users=60, num_clusters=6, items_per_cluster=8)
    return leave_last_out(planted_interests(config).log)


@pytest.fixture(scope="module")
def table():
    return search_space(QUICK, {"dim": 4, "hidden": (), "history_length": 8})


def test_places_are_those_of_the_rows_that_were_tuned():
    rows = [
        {"name": "Popularity", "tuned": None},
        {"name": "WALS", "tuned": {"chosen": 3}},
    ]
    assert recorded_choices({"rows": rows}) == {"WALS": 3}


def test_a_place_is_that_among_the_candidates(table):
    found = recorded_settings(table, ["Popularity", "WALS"], {"WALS": 2})
    assert list(found) == ["Popularity", "WALS"]
    assert found["WALS"] == table["WALS"].candidates(None)[2]


def test_a_row_on_another_ones_setting_gets_it_though_it_is_no_row_itself(table):
    found = recorded_settings(table, ["MIND-4 REMI"], {"MIND-4": 3, "MIND-4 REMI": 1})
    base = table["MIND-4"].candidates(None)[3]
    assert list(found) == ["MIND-4 REMI"]
    assert found["MIND-4 REMI"] == table["MIND-4 REMI"].candidates(base)[1]


def test_a_row_without_a_place_is_refused_with_those_that_have_one(table):
    with pytest.raises(KeyError, match=r"WALS.*MIND-1"):
        recorded_settings(table, ["WALS"], {"MIND-1": 0})


def test_what_is_chosen_now_is_the_best_on_validation(split, table, tmp_path):
    from mindlib.experiments.trial import run_trial

    options = {"cutoffs": (10,), "cache": tmp_path}
    found = tune_settings(split, table, ["Popularity", "ItemCF"], metric="Recall@10", **options)
    assert found["Popularity"].config is None
    reached = [
        run_trial(split, trial, (10,), tmp_path, parts=("validation",))
        .evaluations["validation"]
        .means()["Recall@10"]
        for trial in table["ItemCF"].candidates(None)
    ]
    best = max(range(len(reached)), key=reached.__getitem__)
    assert found["ItemCF"] == table["ItemCF"].candidates(None)[best]


def test_each_seed_is_judged_and_once_what_has_none(split, table, tmp_path):
    trials = recorded_settings(table, ["Popularity", "MIND-4"], {"MIND-4": 0})
    runs = run_seeds(split, trials, table, seeds=2, cutoffs=(10,), cache=tmp_path, device="cpu")
    assert [(run.model, run.seed) for run in runs] == [
        ("Popularity", 0),
        ("MIND-4", 0),
        ("MIND-4", 1),
    ]
    assert list(runs[0].evaluations) == ["test"]
    first, second = (run.evaluation.values["Recall@10"] for run in runs[1:])
    assert not torch.equal(first, second)


def test_no_seed_is_refused(split, table, tmp_path):
    with pytest.raises(ValueError, match="seeds=0"):
        run_seeds(split, {}, table, seeds=0, cutoffs=(10,), cache=tmp_path)
