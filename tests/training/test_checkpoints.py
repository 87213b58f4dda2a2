"""Training goes on from a checkpoint bit by bit as if nothing had happened, or says why not."""

import dataclasses
import errno
import json
import math
import os
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import mindlib.training.checkpoints
import mindlib.training.fitting
from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.data.tensor_file import TensorFile
from mindlib.evaluation import Evaluation
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MIND, MINDConfig, YouTubeDNN, YouTubeDNNConfig
from mindlib.training import TrainingConfig, fit
from mindlib.training.checkpoints import Checkpoints
from tests.reliability import behaves, refuses

pytestmark = pytest.mark.slow

EPOCHS = 4
CONFIG = TrainingConfig(
    epochs=EPOCHS, batch_size=64, negatives=16, monitor="Recall@10", patience=EPOCHS
)
SMALL: dict[str, Any] = {"dim": 8, "hidden": (8,), "history_length": 10}


@pytest.fixture(scope="module")
def split():
    return made_split(0)


def made_split(seed, **options):
    world: dict[str, Any] = {
        "num_users": 60,
        "num_clusters": 4,
        "items_per_cluster": 8,
        "num_segments": 2,
    }
    return leave_last_out(planted_interests(PlantedConfig(**world | options), seed=seed).log)


def make(split, kind="MIND", seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    if kind == "MIND":
        arguments: dict[str, Any] = {
            **SMALL,
            "routing": RoutingConfig.paper(max_interests=2),
            **options,
        }
        return MIND(split.log, MINDConfig.paper(**arguments), generator=generator)
    return YouTubeDNN(split.log, YouTubeDNNConfig.paper(**SMALL | options), generator=generator)


def train(model, split, config=CONFIG, folder=None):
    return fit(model, split, config, device="cpu", progress=False, checkpoints=folder)


def repeatable(record):
    return replace(record, seconds=0.0, samples_per_second=0.0)


def assert_same(model, done, expected_model, expected):
    for name, value in expected_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert [repeatable(r) for r in done.log] == [repeatable(r) for r in expected.log]
    assert done.best_epoch == expected.best_epoch


class Interruption(Exception):
    pass


def interrupt(monkeypatch, name, after):
    """Let the function of `mindlib.training` raise once it has been called `after` times."""
    original, calls = getattr(mindlib.training.fitting, name), 0

    def counted(*arguments, **options):
        nonlocal calls
        if calls == after:
            raise Interruption
        calls += 1
        return original(*arguments, **options)

    monkeypatch.setattr(mindlib.training.fitting, name, counted)


@pytest.mark.parametrize("kind", ["MIND", "YouTube DNN"])
@pytest.mark.parametrize(
    "options",
    [{}, {"in_batch": True, "proposal": "popularity"}, {"schedule": "cosine"}],
    ids=["plain", "in-batch", "cosine"],
)
@pytest.mark.parametrize("share", [0.1, 0.45, 0.99])
def test_interrupted_anywhere_training_ends_with_the_same_weights(
    split, tmp_path, monkeypatch, kind, options, share
):
    config = replace(CONFIG, **options)
    expected_model = make(split, kind)
    expected = train(expected_model, split, config)
    steps = math.ceil(len(split.train) / config.batch_size)
    with monkeypatch.context() as patch:
        interrupt(patch, "training_step", int(share * EPOCHS * steps))
        with pytest.raises(Interruption):
            train(make(split, kind), split, config, tmp_path)
    assert Checkpoints(tmp_path).epochs() or share < 1 / EPOCHS
    model = make(split, kind)
    assert_same(model, train(model, split, config, tmp_path), expected_model, expected)
    # The generators have no say any more: the checkpoint's weights replace those of this model.
    finished = make(split, kind, seed=7)
    assert_same(finished, train(finished, split, config, tmp_path), expected_model, expected)


def test_writing_checkpoints_changes_nothing(split, tmp_path):
    plain, watched = make(split), make(split)
    assert_same(watched, train(watched, split, folder=tmp_path), plain, train(plain, split))


def test_more_epochs_than_before_are_more_training(split, tmp_path):
    expected_model, model = make(split), make(split)
    expected = train(expected_model, split)
    train(make(split), split, replace(CONFIG, epochs=2), tmp_path)
    assert_same(model, train(model, split, folder=tmp_path), expected_model, expected)


def judged(monkeypatch, values, interrupted=None):
    """Let validation give these values, one after the other, from epoch to epoch."""
    epochs = iter(range(len(values)))

    def judge(model, cases, cutoffs, *, exclude_history):
        epoch = next(epochs)
        if epoch == interrupted:
            raise Interruption
        return Evaluation({"Recall@10": torch.tensor([values[epoch]])}, {})

    monkeypatch.setattr("mindlib.training.fitting.evaluate", judge)


@pytest.mark.parametrize("interrupted", [1, 2, 3, 4])
def test_patience_and_the_best_weights_survive_an_interruption(
    split, tmp_path, monkeypatch, interrupted
):
    values = [0.1, 0.5, 0.3, 0.2, 0.4, 0.9]
    config = replace(CONFIG, epochs=6, patience=3)
    expected_model = make(split)
    judged(monkeypatch, values)
    expected = train(expected_model, split, config)
    assert len(expected.log) == 5, "three epochs without a better value"
    assert expected.best_epoch == 2

    judged(monkeypatch, values, interrupted)
    with pytest.raises(Interruption):
        train(make(split), split, config, tmp_path)
    judged(monkeypatch, values[interrupted:])
    model = make(split)
    assert_same(model, train(model, split, config, tmp_path), expected_model, expected)
    # A training that has stopped by itself does not start again.
    judged(monkeypatch, [])
    model = make(split)
    assert_same(model, train(model, split, config, tmp_path), expected_model, expected)
    assert_same(
        model, train(model, split, replace(config, epochs=9), tmp_path), expected_model, expected
    )


def test_the_two_newest_checkpoints_are_kept(split, tmp_path, monkeypatch):
    judged(monkeypatch, [0.1, 0.5, 0.3, 0.2])
    train(make(split), split, folder=tmp_path / "new" / "folder")
    folder = Checkpoints(tmp_path / "new" / "folder")
    assert folder.epochs() == [3, 4]
    names = sorted(path.name for path in folder.folder.iterdir())
    assert names == ["epoch-00003.safetensors", "epoch-00004.safetensors", "lock"]
    facts = folder.read(4).facts
    assert facts["best_epoch"] == 2
    assert [record["metrics"]["Recall@10"] for record in facts["log"]] == pytest.approx(
        [0.1, 0.5, 0.3, 0.2]
    )


def test_without_the_newest_checkpoint_training_goes_on_from_the_other(
    split, tmp_path, monkeypatch
):
    expected_model = make(split)
    judged(monkeypatch, [0.1, 0.5, 0.3, 0.2])
    expected = train(expected_model, split, folder=tmp_path)
    Checkpoints(tmp_path).path(4).unlink()
    judged(monkeypatch, [0.2])
    model = make(split)
    assert_same(model, train(model, split, folder=tmp_path), expected_model, expected)


# Checkpoints that do not fit


@pytest.fixture(scope="module")
def trained(split, tmp_path_factory):
    """A folder with two epochs; copied by those who change it."""
    folder = tmp_path_factory.mktemp("trained")
    train(make(split), split, replace(CONFIG, epochs=2), folder)
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": 17}, "training.negatives=16, not 17"),
        ({"proposal": "popularity"}, "training.proposal='uniform', not 'popularity'"),
        ({"logq": False}, "training.logq=True, not False"),
        ({"in_batch": True}, "training.in_batch=False, not True"),
        ({"learning_rate": 1e-3}, "training.learning_rate=0.002, not 0.001"),
        ({"schedule": "cosine"}, "training.schedule='constant', not 'cosine'"),
        ({"monitor": "NDCG@10"}, "training.monitor='Recall@10', not 'NDCG@10'"),
        ({"patience": 1}, "training.patience=4, not 1"),
        ({"seed": 3}, "training.seed=0, not 3"),
    ],
)
def test_another_configuration_is_refused_by_name(split, trained, options, message):
    with pytest.raises(ValueError, match=message):
        train(make(split), split, replace(CONFIG, **options), trained)


@pytest.mark.parametrize(
    ("fault", "change", "message"),
    [
        ("a run is resumed with another batch size", {"batch_size": 32}, "batch_size=64, not 32"),
        ("a run is resumed with fewer epochs", {"epochs": 1}, "epochs=1: .* pass epochs=2 or more"),
    ],
)
def test_a_run_is_resumed_with_its_own_options_only(split, trained, fault, change, message):
    with refuses("Training and checkpoints", fault, ValueError, match=message):
        train(make(split), split, replace(CONFIG, **change), trained)


def test_every_field_of_the_configuration_is_compared_but_the_epochs(split, trained):
    run = Checkpoints(trained).read(2).facts["run"]
    names = {f"training.{field.name}" for field in dataclasses.fields(TrainingConfig)}
    assert {name for name in run if name.startswith("training.")} == names - {"training.epochs"}


def test_a_cosine_is_bound_to_its_epochs(split, tmp_path):
    config = replace(CONFIG, schedule="cosine", epochs=1)
    train(make(split), split, config, tmp_path)
    fault, message = "more epochs with a cosine schedule", r"training\.epochs=1, not 2"
    with refuses("Training and checkpoints", fault, ValueError, match=message):
        train(make(split), split, replace(config, epochs=2), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "YouTube DNN"}, "model='MIND', not 'YouTubeDNN'"),
        ({"power": 5.0}, "model.power=2.0, not 5.0"),
        ({"routing": RoutingConfig.paper(max_interests=3)}, "model.routing.max_interests=2, not 3"),
        ({"hidden": (16,)}, r"model.hidden=\[8\], not \[16\]"),
    ],
)
def test_another_model_is_refused_by_name(split, trained, options, message):
    with pytest.raises(ValueError, match=message):
        train(make(split, **options), split, CONFIG, trained)


def test_weights_of_another_shape_are_refused_by_name(split, trained):
    wider = make(split, hidden=(16,))
    wider.config = make(split).config
    with pytest.raises(
        ValueError, match=r"(?s)has other weights .*size mismatch for head\.layers\.0\.bias"
    ):
        train(wider, split, CONFIG, trained)


def test_another_catalogue_is_refused(split, trained):
    log = split.log
    renamed = log.item_ids.copy()
    renamed[[3, 4]] = renamed[[4, 3]]
    others = [
        replace(log, item_ids=renamed),
        replace(log, item_features=None),
        replace(log, item_features=replace(log.item_features, codes=log.item_features.codes[::-1])),
    ]
    for other in others:
        another = leave_last_out(other)
        with pytest.raises(ValueError, match="trained on other data"):
            train(make(another), another, CONFIG, trained)


def test_another_log_is_refused(split, trained):
    fewer = made_split(0, num_users=59)
    same_catalogue = replace(
        fewer.log, item_ids=split.log.item_ids, item_features=split.log.item_features
    )
    another = leave_last_out(same_catalogue)
    fault, message = "a run is resumed with another log", "trained on other data"
    with refuses("Training and checkpoints", fault, ValueError, match=message):
        train(make(another), another, CONFIG, trained)


def test_another_number_of_processes_or_device_is_refused(split, trained, monkeypatch):
    original = mindlib.training.fitting.run_identity
    for name, value in (("processes", 2), ("device", "cuda")):
        monkeypatch.setattr(
            mindlib.training.fitting,
            "run_identity",
            lambda *a, name=name, value=value: original(*a) | {name: value},
        )
        with pytest.raises(ValueError, match=f"was trained with {name}="):
            train(make(split), split, CONFIG, trained)


# Files that are damaged


def copied(trained, tmp_path):
    return Checkpoints(shutil.copytree(trained, tmp_path / "copy", dirs_exist_ok=True))


@given(share=st.floats(0, 1, exclude_max=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_a_truncated_file_is_refused(trained, tmp_path, share):
    folder = copied(trained, tmp_path)
    whole = folder.path(2).read_bytes()
    folder.path(2).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"epoch-00002.*delete it, and training resumes"):
        folder.read(2)


@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_a_flipped_bit_is_refused(trained, tmp_path, share, bit):
    folder = copied(trained, tmp_path)
    content = bytearray(folder.path(2).read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    folder.path(2).write_bytes(content)
    try:
        found = folder.read(2)
    except ValueError:
        return
    # Only what carries no meaning, the kind of white space in the header, may be another.
    expected = Checkpoints(trained).read(2)
    assert found.facts == expected.facts
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in expected.tensors.items())


def test_a_damaged_file_is_named_before_anything_is_trained(split, trained, tmp_path):
    folder = copied(trained, tmp_path)
    model = make(split)
    before = model.items.weight.clone()
    content = bytearray(folder.path(2).read_bytes())
    content[-100] ^= 1
    folder.path(2).write_bytes(content)
    with pytest.raises(ValueError, match="its content has another sha256"):
        train(model, split, CONFIG, folder.folder)
    assert torch.equal(model.items.weight, before)
    behaves(
        "Training and checkpoints",
        "a bit of the newest checkpoint is flipped",
        "ValueError before training, with the path and the epoch from which training "
        "resumes if the file is deleted",
    )


def test_other_files_of_that_name_are_refused(trained, tmp_path):
    folder = copied(trained, tmp_path)
    save_file(load_file(folder.path(2)), folder.path(3))
    with pytest.raises(ValueError, match="was not written by mindlib in the format"):
        folder.read(3)
    folder.write(4, TensorFile(folder.read(2).tensors, {"format": "mindlib checkpoint 1"}))
    with pytest.raises(ValueError, match="'mindlib checkpoint 1', expected 'mindlib ch"):
        folder.read(4)


def test_a_second_training_run_in_a_folder_is_refused(split, tmp_path, monkeypatch):
    original = mindlib.training.fitting.training_step

    def another(*arguments):
        with (
            pytest.MonkeyPatch.context() as patch,
            refuses(
                "Training and checkpoints",
                "two training runs share one folder of checkpoints",
                BlockingIOError,
                match="another training run is writing its checkpoints to this folder; wait until",
            ),
        ):
            patch.setattr("mindlib.training.fitting.training_step", original)
            train(make(split), split, CONFIG, tmp_path)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("mindlib.training.fitting.training_step", another)
        train(make(split), split, replace(CONFIG, epochs=1, batch_size=10_000), tmp_path)
    assert train(make(split), split, replace(CONFIG, batch_size=10_000), tmp_path).log
    # An error releases the folder, even while its traceback is kept.
    monkeypatch.setattr("mindlib.training.fitting.training_step", lambda *_: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            train(make(split), split, CONFIG, tmp_path / "other")


# Folders that cannot be written


def test_a_file_in_place_of_the_folder_is_refused(split, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="no checkpoint can be written to this folder"):
            train(make(split), split, CONFIG, folder)


def test_a_folder_that_cannot_be_written_is_refused_before_training(split, tmp_path, monkeypatch):
    """Permissions do not bind root, who runs the tests in many a container: simulated."""

    def read_only(*, dir):
        assert dir == tmp_path
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    monkeypatch.setattr("mindlib.training.checkpoints.tempfile.TemporaryFile", read_only)
    monkeypatch.setattr("mindlib.training.fitting.training_step", lambda *_: pytest.fail("trained"))
    with refuses(
        "Training and checkpoints",
        "the folder of the checkpoints is read-only",
        PermissionError,
        match=r"written to this folder \(Permission denied\); pass",
    ):
        train(make(split), split, CONFIG, tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="binds users, not root")
def test_a_read_only_folder_is_refused(split, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="written to this folder"):
        train(make(split), split, CONFIG, tmp_path)


def assert_survives(split, folder, message):
    """The next epoch cannot be written: the earlier ones are untouched."""
    before = {path: path.read_bytes() for path in folder.folder.iterdir()}
    with pytest.raises(OSError, match=message):
        train(make(split), split, CONFIG, folder.folder)
    assert {path: path.read_bytes() for path in folder.folder.iterdir()} == before


def test_a_full_disk_leaves_the_earlier_checkpoint(split, trained, tmp_path, monkeypatch):
    def half(tensors, path, metadata):
        save_file(tensors, path, metadata)
        with open(path, "r+b") as file:
            file.truncate(path.stat().st_size // 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    message = r"epoch-00003.* could not be written .*No space left.* earlier files are unchanged"
    folder = copied(trained, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("mindlib.data.tensor_file.save_file", half)
        assert_survives(split, folder, message)
    model, expected_model = make(split), make(split)
    expected = train(expected_model, split)
    assert_same(model, train(model, split, CONFIG, folder.folder), expected_model, expected)
    behaves(
        "Training and checkpoints",
        "the disk is full when a checkpoint is written",
        "OSError; the earlier checkpoint is untouched, and the repeated call ends with the "
        "weights of an uninterrupted run",
    )


@pytest.mark.skipif(os.name != "posix", reason="needs limits on the size of files")
def test_a_write_that_the_system_cuts_off_leaves_the_earlier_checkpoint(split, trained, tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = copied(trained, tmp_path)
    size = folder.path(2).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        assert_survives(split, folder, "epoch-00003.* could not be written .*File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_loss_that_is_not_finite_leaves_the_earlier_checkpoint(split, trained, tmp_path):
    folder = copied(trained, tmp_path)
    before = sorted(folder.folder.iterdir())
    original, calls = mindlib.training.fitting.training_step, []

    def spoiled(*arguments):
        calls.append(1)
        return original(*arguments) * (math.nan if len(calls) == 3 else 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mindlib.training.fitting.training_step", spoiled)
        with pytest.raises(FloatingPointError, match="epoch 3 is nan at step 3 of"):
            train(make(split), split, CONFIG, folder.folder)
    assert sorted(folder.folder.iterdir()) == before
    behaves(
        "Training and checkpoints",
        "the loss becomes NaN after some epochs",
        "FloatingPointError; the checkpoints of the earlier epochs are untouched",
    )


def test_the_facts_of_a_checkpoint_are_json_in_its_header(trained):
    """Readable without mindlib, and without reading the tensors."""
    content = Checkpoints(trained).path(2).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts = json.loads(header["__metadata__"]["facts"])
    assert [record["epoch"] for record in facts["log"]] == [1, 2]
    assert set(facts["log"][0]) >= {"step", "loss", "metrics", "learning_rate", "seconds"}
