"""A run is loaded again under everything that decides it, and resumes where it was stopped."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import Mock

import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.evaluation import evaluate
from mindlib.experiments import execution, trial
from mindlib.experiments.execution import run_trial, trained_model
from mindlib.experiments.trial import Trial
from mindlib.layers.routing import RoutingConfig
from mindlib.models import (
    MIND,
    WALS,
    ItemCF,
    ItemCFConfig,
    MINDConfig,
    Popularity,
    Random,
    WALSConfig,
    YouTubeDNN,
    YouTubeDNNConfig,
)
from mindlib.training import TrainingConfig, fit

pytestmark = pytest.mark.slow

TRAINING = TrainingConfig(epochs=3, batch_size=64, negatives=16, monitor="Recall@10", patience=3)
MIND_TRIAL = Trial(
    "MIND-2",
    MIND,
    MINDConfig(dim=8, hidden=(), history_length=10, routing=RoutingConfig(max_interests=2)),
    TRAINING,
)
DNN_TRIAL = Trial(
    "YouTube DNN", YouTubeDNN, YouTubeDNNConfig(dim=8, hidden=(), history_length=10), TRAINING
)
CUTOFFS = (5, 10)


@pytest.fixture(scope="module")
def split():
    config = PlantedConfig(num_users=60, num_clusters=4, items_per_cluster=10, num_segments=2)
    return leave_last_out(planted_interests(config, seed=0).log)


@pytest.fixture
def trainings(monkeypatch):
    """Record every call of `fit`."""
    counted = Mock(wraps=fit)
    monkeypatch.setattr(execution, "fit", counted)
    return counted.mock_calls


@pytest.fixture
def evaluated(monkeypatch):
    """Record every evaluation."""
    counted = Mock(wraps=evaluate)
    monkeypatch.setattr(execution, "evaluate", counted)
    return counted.mock_calls


def run(split, trial, cache=None, cutoffs=CUTOFFS, **options):
    """Run a trial with the cache, or without results of other runs."""
    with TemporaryDirectory() as empty:
        return run_trial(split, trial, cutoffs, cache or Path(empty), device="cpu", **options)


def assert_same(a, b):
    assert a.evaluations.keys() == b.evaluations.keys()
    for part, evaluation in a.evaluations.items():
        other = b.evaluations[part]
        assert evaluation.coverage == other.coverage
        assert evaluation.values.keys() == other.values.keys()
        for name, values in evaluation.values.items():
            assert torch.equal(values, other.values[name]), (part, name)


def test_a_run_is_what_fit_and_evaluate_make_of_it(split):
    found = run(split, dataclasses.replace(MIND_TRIAL, seed=3), categories="department")
    model = MIND(split.log, MIND_TRIAL.config, generator=torch.Generator().manual_seed(3))
    how = fit(model, split, dataclasses.replace(TRAINING, seed=3), device="cpu", progress=False)
    departments = torch.from_numpy(split.log.item_features.column("department").copy())
    assert found.fit is not None
    assert found.fit.best_epoch == how.best_epoch
    assert [e.loss for e in found.fit.log] == [e.loss for e in how.log]
    for part in ("validation", "test"):
        again = evaluate(model, getattr(split, part), CUTOFFS, categories=departments)
        for name, values in again.values.items():
            assert torch.equal(found.evaluations[part].values[name], values)
    assert "Categories@5" in found.evaluation.values
    assert found.seconds == pytest.approx(sum(e.seconds for e in found.fit.log))


def test_a_cached_run_is_not_trained_again_and_has_every_case(split, tmp_path, trainings):
    first = run(split, MIND_TRIAL, tmp_path)
    second = run(split, dataclasses.replace(MIND_TRIAL, name="another name"), tmp_path)
    assert len(trainings) == 1
    assert_same(first, second)
    assert (first.fit, first.seconds, first.commits) == (second.fit, second.seconds, second.commits)
    assert (first.model, second.model) == ("MIND-2", "another name")
    assert len(second.evaluation.values["Recall@10"]) == len(split.test)


@pytest.mark.parametrize(
    "change",
    [
        {"config": dataclasses.replace(MIND_TRIAL.config, dim=6)},
        {"config": dataclasses.replace(MIND_TRIAL.config, routing=RoutingConfig(iterations=2))},
        {"model": YouTubeDNN, "config": DNN_TRIAL.config},
        {"training": dataclasses.replace(TRAINING, batch_size=32)},
        {"training": dataclasses.replace(TRAINING, exclude_history=False)},
        {"seed": 1},
    ],
)
def test_everything_but_the_name_and_the_trainings_own_seed_is_part_of_the_identity(change):
    assert dataclasses.replace(MIND_TRIAL, **change).identity != MIND_TRIAL.identity
    other_seed = dataclasses.replace(TRAINING, seed=7)
    same = dataclasses.replace(MIND_TRIAL, name="another", training=other_seed)
    assert same.identity == MIND_TRIAL.identity


def test_other_data_seeds_and_schemas_are_other_runs(split, tmp_path, trainings, monkeypatch):
    run(split, DNN_TRIAL, tmp_path)
    fewer = dataclasses.replace(split, test=split.test[:20])
    assert len(run(fewer, DNN_TRIAL, tmp_path).evaluation.values["Recall@10"]) == 20
    run(split, dataclasses.replace(DNN_TRIAL, seed=1), tmp_path)
    monkeypatch.setattr(trial, "SCHEMA", trial.SCHEMA + 1)
    run(split, DNN_TRIAL, tmp_path)
    assert len(trainings) == 4


def test_other_cutoffs_and_categories_are_judged_without_training(split, tmp_path, trainings):
    run(split, DNN_TRIAL, tmp_path)
    wider = run(split, DNN_TRIAL, tmp_path, (5, 20), categories="brand")
    assert len(trainings) == 1
    assert "Recall@20" in wider.evaluation.values
    other = run(split, DNN_TRIAL, tmp_path, (5, 20), categories="department")
    assert not torch.equal(
        wider.evaluation.values["Categories@20"], other.evaluation.values["Categories@20"]
    )
    whole = run(split, DNN_TRIAL, None, (5, 20), categories="department")
    assert_same(other, whole)


def test_each_result_has_the_commit_of_its_code(split, tmp_path, trainings, monkeypatch):
    monkeypatch.setattr(execution, "code_version", lambda: "a" * 40)
    run(split, DNN_TRIAL, tmp_path, parts=("validation",))
    monkeypatch.setattr(execution, "code_version", lambda: "b" * 40)
    assert run(split, DNN_TRIAL, tmp_path, parts=("validation",)).commits == ("a" * 40,)
    assert run(split, DNN_TRIAL, tmp_path).commits == ("a" * 40, "b" * 40)
    assert len(trainings) == 1


def test_an_interrupted_run_resumes_and_ends_as_an_uninterrupted_one(split, tmp_path, monkeypatch):
    whole = run(split, MIND_TRIAL)

    validated = []

    def interrupted(*args, **options):
        validated.append(1)
        if len(validated) == 3:
            raise KeyboardInterrupt
        return evaluate(*args, **options)

    monkeypatch.setattr("mindlib.training.fitting.evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(split, MIND_TRIAL, tmp_path)
    assert len(list(tmp_path.glob("*/checkpoints/*.safetensors"))) >= 1
    assert not list(tmp_path.glob("*/run"))
    resumed = run(split, MIND_TRIAL, tmp_path)
    assert len(validated) == 3 + 1, "the last epoch only"
    assert_same(resumed, whole)
    assert not list(tmp_path.glob("*/checkpoints"))


def test_a_damaged_checkpoint_starts_the_training_again(split, tmp_path, monkeypatch, trainings):
    whole = run(split, DNN_TRIAL, tmp_path)
    (folder,) = [file.parent for file in tmp_path.glob("*/run")]
    for file in folder.iterdir():
        file.unlink()
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "epoch-00002.safetensors").write_bytes(b"nothing of the kind")
    with pytest.warns(UserWarning, match="epoch-00002.*training starts again"):
        again = run(split, DNN_TRIAL, tmp_path)
    assert_same(whole, again)
    assert len(trainings) == 2


@pytest.mark.parametrize("name", ["run", "test-*"])
def test_a_damaged_entry_is_computed_again_with_a_warning(split, tmp_path, trainings, name):
    whole = run(split, MIND_TRIAL, tmp_path)
    (folder,) = [file.parent for file in tmp_path.glob("*/run")]
    (file,) = folder.glob(name)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="is damaged"):
        again = run(split, MIND_TRIAL, tmp_path)
    assert_same(whole, again)
    assert_same(whole, run(split, MIND_TRIAL, tmp_path))  # without a warning
    assert len(trainings) == (1 if name == "test-*" else 2)


@pytest.mark.parametrize(
    "trial",
    [Trial("ItemCF", ItemCF, ItemCFConfig(neighbors=5)), Trial("Random", Random, seed=2)],
    ids=lambda trial: trial.name,
)
def test_models_without_gradient_steps_are_cached_too(split, tmp_path, trial, evaluated):
    first = run(split, trial, tmp_path)
    assert len(evaluated) == 2
    second = run(split, trial, tmp_path)
    assert len(evaluated) == 2
    assert_same(first, second)
    assert first.fit is None
    assert len(first.evaluation.values["NDCG@5"]) == len(split.test)


def test_only_the_exclusion_matters_without_gradient_steps(split):
    trial = Trial("Popularity", Popularity)
    assert dataclasses.replace(trial, training=TRAINING).identity == trial.identity
    keep = dataclasses.replace(TRAINING, exclude_history=False)
    found = run(split, dataclasses.replace(trial, training=keep)).evaluation.values["Recall@10"]
    popular = Popularity(split.train_counts)
    again = evaluate(popular, split.test, CUTOFFS, exclude_history=False)
    assert torch.equal(found, again.values["Recall@10"])
    assert not torch.equal(found, run(split, trial).evaluation.values["Recall@10"])


@pytest.mark.parametrize(
    "trial",
    [Trial("Random", Random), Trial("WALS", WALS, WALSConfig(dim=4, iterations=1))],
    ids=lambda trial: trial.name,
)
def test_the_seed_determines_the_result(split, trial):
    one, same, two = (
        run(split, dataclasses.replace(trial, seed=seed)).evaluation.values["NDCG@10"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, two)


def test_the_trained_model_of_a_run_has_the_weights_that_were_judged(split, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no run of 'MIND-2'"):
        trained_model(split, MIND_TRIAL, tmp_path)
    found = run(split, MIND_TRIAL, tmp_path)
    model = trained_model(split, MIND_TRIAL, tmp_path)
    again = evaluate(model, split.test, CUTOFFS)
    for name, values in again.values.items():
        assert torch.equal(values, found.evaluation.values[name])


def test_an_invalid_trial_is_refused():
    with pytest.raises(ValueError, match="model=dict: expected a VectorModel, a class with"):
        Trial("?", dict, WALSConfig())
    with pytest.raises(ValueError, match="config=None: expected the configuration for MIND"):
        Trial("?", MIND)
    with pytest.raises(ValueError, match="expected None for Popularity"):
        Trial("?", Popularity, WALSConfig())


def test_an_unknown_field_is_named(split):
    with pytest.raises(ValueError, match=r"category=.colour.: expected one of .*department"):
        run(split, Trial("Popularity", Popularity), categories="colour")
    bare = dataclasses.replace(split, log=dataclasses.replace(split.log, item_features=None))
    with pytest.raises(ValueError, match="it has none"):
        run(bare, Trial("Popularity", Popularity), categories="department")
