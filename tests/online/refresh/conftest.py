from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mindlib.online.refresh import Registry, pipeline, refresh
from mindlib.online.refresh.pipeline import TrainedModel
from mindlib.online.refresh.pipeline import train as really_train
from mindlib.online.refresh.warm import WarmState
from mindlib.online.serving.bundle import Bundle
from tests.online.refresh.world import CONFIG, daily_logs


@dataclass(frozen=True)
class Made:
    """Two nights of refreshing, and what a third one trains and writes."""

    folder: Path
    trained: TrainedModel
    bundle: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    """The real thing, once: three trainings, three exports."""
    registry = Registry(tmp_path_factory.mktemp("refresh") / "registry")
    for log in daily_logs()[:2]:
        refresh(registry, log, CONFIG)
    previous = WarmState.load(registry.path(2) / pipeline.WEIGHTS)
    trained = really_train(daily_logs()[2], CONFIG, previous)
    log = trained.split.log
    bundle = Bundle.write(
        registry.folder.parent / "third",
        version="0003",
        model=trained.model,
        log=log,
        counts=log.item_counts(),
        category=CONFIG.category,
    )
    return Made(registry.folder, trained, bundle)


@pytest.fixture
def registry(made, tmp_path) -> Registry:
    """A copy of the two nights' registry."""
    return Registry(shutil.copytree(made.folder, tmp_path / "registry"))


Third = Callable[..., None]


@pytest.fixture
def third(made, monkeypatch) -> Third:
    """Let the third night take no time: its model is trained, its version written already."""

    def prepare(
        damage: Callable[[Path], Any] = lambda bundle: None,
        meanwhile: Callable[[], Any] = lambda: None,
    ) -> None:
        def train(log: object, config: object, before: WarmState | None) -> TrainedModel:
            assert before is not None
            meanwhile()
            return made.trained

        def write(folder: Path, **parts: Any) -> Path:
            shutil.copytree(made.bundle, folder)
            damage(folder)
            return folder

        monkeypatch.setattr(pipeline, "train", train)
        monkeypatch.setattr(Bundle, "write", staticmethod(write))

    return prepare
