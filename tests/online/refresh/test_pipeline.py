"""The refresh: what a version has, what is rejected, and what is unchanged then."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mindlib.data import Catalogue
from mindlib.data.splits import Split
from mindlib.models import MIND
from mindlib.online.ranking.din import DIN, DINConfig
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.refresh import (
    ConcurrentUpdate,
    GateConfig,
    GateRejected,
    RefreshInProgress,
    Registry,
    load_version,
    pipeline,
    refresh,
)
from mindlib.online.refresh.days import hold_out_newest_day
from mindlib.online.refresh.gate import GateResult
from mindlib.online.refresh.pipeline import WEIGHTS, train
from mindlib.online.refresh.warm import WarmState, warm_start
from tests.online.refresh.damage import BROKEN
from tests.online.refresh.world import CONFIG, daily_logs, training

pytestmark = pytest.mark.slow


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_two_refreshes(registry):
    assert registry.current() == 2
    first, second = registry.history()
    assert (first.state, second.state) == ("served before", "current")
    assert first.facts["start"] == "scratch"
    assert second.facts["start"] == "version 0001"
    assert second.facts["rows"]["copied"] > 0
    assert second.facts["rows"]["new"] > 0  # the catalogue has grown
    assert second.facts["steps"] < first.facts["steps"]
    assert first.facts["day"] < second.facts["day"]
    for record, log in zip((first, second), daily_logs(), strict=False):
        assert record.facts["events"] == len(log)
        version = load_version(registry, record.number)
        assert version.version == f"{record.number:04d}"
        assert version.catalogue.fingerprint == Catalogue.from_log(log).fingerprint
        assert np.array_equal(version.counts, log.item_counts())
        assert record.facts["metrics"]["Recall@5"] > 0
        assert record.facts["metrics"]["export agreement"] >= 0.98
        assert record.facts["metrics"]["index agreement"] == 1
        assert record.facts["reasons"] == []
    assert "Recall@5 of random lists" in first.facts["metrics"]
    assert "Recall@5 of the current version" in second.facts["metrics"]
    assert sorted(path.name for path in registry.versions.iterdir()) == ["0001", "0002"]


def test_a_third_version_passes_the_gate_and_is_served(registry, third, made):
    third()
    done = refresh(registry, daily_logs()[2], CONFIG)
    assert done.number == registry.current() == 3
    assert registry.history()[-1] == done
    # The next refresh starts from these weights.
    kept = WarmState.load(registry.path(3) / WEIGHTS)
    for name, weight in made.trained.model.state_dict().items():
        assert torch.equal(kept.weights[name], weight), name
    assert kept.names == WarmState.from_model(made.trained.model, made.trained.split.log).names
    assert registry.rollback() == 2


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_a_broken_export_is_rejected_with_reasons_and_the_current_version_stays(
    registry, third, damage
):
    before = contents(registry.folder)
    third(damage)
    with pytest.raises(
        GateRejected, match=f"(?s)0003 is rejected, version 0002 is served: .*{BROKEN[damage]}"
    ):
        refresh(registry, daily_logs()[2], CONFIG)
    assert registry.current() == 2
    after = contents(registry.folder)
    assert {name for name in after if after[name] != before.get(name)} == {"rejected/0003.json"}
    assert before.keys() <= after.keys()
    record = registry.history()[-1]
    assert record.state == "rejected"
    assert record.facts["reasons"]
    load_version(registry, 2)


def test_a_broken_first_version_is_rejected(tmp_path, made, third, monkeypatch):
    third(next(iter(BROKEN)))
    monkeypatch.setattr(pipeline, "train", lambda *_: made.trained)
    registry = Registry(tmp_path / "new")
    with pytest.raises(GateRejected, match="0001 is rejected, no version is served"):
        refresh(registry, daily_logs()[2], CONFIG)
    assert registry.current() is None


def test_a_concurrent_refresh_is_refused_and_the_first_one_ends(registry, third):
    errors: list[BaseException] = []

    def another() -> None:
        try:
            refresh(Registry(registry.folder), daily_logs()[2], CONFIG)
        except BaseException as error:
            errors.append(error)

    def meanwhile() -> None:
        thread = threading.Thread(target=another)
        thread.start()
        thread.join()

    third(meanwhile=meanwhile)
    assert refresh(registry, daily_logs()[2], CONFIG).number == 3
    assert [type(error) for error in errors] == [RefreshInProgress]
    assert "is already running: process" in str(errors[0])


def test_a_rollback_while_a_refresh_runs_is_not_undone_by_it(registry, third):
    third(meanwhile=registry.rollback)
    with pytest.raises(ConcurrentUpdate, match="rollback"):
        refresh(registry, daily_logs()[2], CONFIG)
    assert registry.current() == 1
    assert [(r.number, r.state) for r in registry.history()] == [
        (1, "current"),
        (2, "rolled back"),
    ]
    assert sorted(path.name for path in registry.versions.iterdir()) == ["0001", "0002"]


def test_after_a_rollback_the_next_version_starts_from_the_previous_one(registry, third, made):
    registry.rollback()
    third()
    done = refresh(registry, daily_logs()[2], CONFIG)
    assert done.facts["start"] == "version 0001"
    assert registry.rollback() == 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({}, FloatingPointError, "the loss is nan"),
        # Refused before the training:
        ({"gate": GateConfig(cutoff=1000)}, ValueError, "cutoff=1000: the catalogues of the log"),
        ({"category": "brnd"}, ValueError, "category='brnd': expected one of the item fields"),
    ],
)
def test_an_error_in_or_before_the_training_changes_nothing(
    registry, third, changes, error, message
):
    def fail() -> None:
        raise FloatingPointError("the loss is nan")

    before = contents(registry.folder)
    third(meanwhile=fail)
    with pytest.raises(error, match=message):
        refresh(registry, daily_logs()[2], replace(CONFIG, **changes))
    assert contents(registry.folder) == before


def test_damaged_weights_are_named_and_from_scratch_helps(registry):
    path = registry.path(2) / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"pass RefreshConfig\(warm_start=None\)"):
        refresh(registry, daily_logs()[2], CONFIG)
    assert registry.current() == 2


def test_a_warm_start_begins_with_the_previous_quality(registry, made):
    log = daily_logs()[2]
    cold = train(log, replace(CONFIG, warm_start=None), WarmState.load(registry.path(2) / WEIGHTS))
    assert cold.facts["rows"] is None
    assert made.trained.facts["rows"]["copied"] > 0
    # On the same cases, previous weights are better than random ones.
    assert made.trained.split.validation.targets.equal(cold.split.validation.targets)
    initial = "Recall@5 before training"
    assert made.trained.facts[initial] > cold.facts[initial] + 0.1
    assert made.trained.facts["epochs"] == 2
    assert cold.facts["epochs"] == 8


def test_epoch_0_is_kept_if_training_makes_a_warm_start_worse(registry):
    log, kept = daily_logs()[2], WarmState.load(registry.path(2) / WEIGHTS)
    harm = replace(training(1), learning_rate=10.0)
    harmed = train(log, replace(CONFIG, warm_start=harm), kept)
    assert harmed.facts["best epoch"] == 0
    assert harmed.facts["epochs"] == 1
    fresh = MIND(log, CONFIG.model, generator=torch.Generator().manual_seed(CONFIG.seed))
    warm_start(fresh, log, kept)
    for name, weight in fresh.state_dict().items():
        assert torch.equal(harmed.model.state_dict()[name], weight), name


def test_the_gates_cases_are_held_out_of_the_training(made):
    split = made.trained.split
    again = hold_out_newest_day(daily_logs()[2], share=CONFIG.held_out, seed=CONFIG.seed)
    assert np.array_equal(split.train_events, again.train_events)
    assert not split.train_events.all()


def test_a_version_has_the_ranker_it_was_given(registry, made, monkeypatch):
    monkeypatch.setattr(pipeline, "train", lambda *_: made.trained)

    def train_ranker(split: Split) -> DINRanker:
        assert split is made.trained.split
        model = DIN.from_log(split.log, DINConfig(dim=4, hidden=(4,)), generator=torch.Generator())
        return DINRanker.from_model(model, split.log)

    done = refresh(registry, daily_logs()[2], CONFIG, train_ranker=train_ranker)
    ranker = load_version(registry, done.number).ranker
    assert isinstance(ranker, DINRanker)
    assert ranker.catalogue == Catalogue.from_log(made.trained.split.log).fingerprint
    manifest = json.loads((registry.path(3) / "bundle" / "manifest.json").read_text())
    assert "ranker.safetensors" in manifest["files"]


@pytest.mark.parametrize(("named", "expected"), [(None, "0001"), (1, "0001"), (2, None)])
def test_the_gate_compares_with_the_oldest_served_version_or_the_one_named(
    registry, third, monkeypatch, named, expected
):
    compared = []

    def check_version(*arguments: Any) -> GateResult:
        compared.extend(arguments[3:4] + arguments[5:])
        return GateResult([])

    monkeypatch.setattr(pipeline, "check_version", check_version)
    third()
    refresh(registry, daily_logs()[2], replace(CONFIG, reference=named))
    current, reference = compared
    assert current.version == "0002"
    assert (reference and reference.version) == expected
