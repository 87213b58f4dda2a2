"""Refreshes in processes that are killed; run by test_killed.py, prints JSON.

    python -m tests.online.refresh.refresh_child FOLDER

A killed process leaves the folder as it was at that moment. So one refresh is watched, the folder
copied before each of its steps, and every copy gone on from; at the steps that matter most, a
process is killed in earnest too.

The processes are forked, so that what is imported is imported once. This one computes nothing
itself: threads of polars and torch do not survive a fork. A night takes no time in them: what it
trains and writes was made before, by a child.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import mindlib.online.refresh.pipeline as pipeline
import mindlib.online.refresh.registry as registries
from mindlib.data.splits import Split
from mindlib.models import MIND
from mindlib.online.refresh import Registry, load_version, refresh
from mindlib.online.refresh.days import hold_out_newest_day
from mindlib.online.refresh.pipeline import TrainedModel, WarmState
from mindlib.online.refresh.warm import WarmStart
from mindlib.online.serving.bundle import Bundle
from mindlib.training import EpochRecord, Fit
from tests.online.refresh.world import CONFIG, daily_logs
from tests.training.checkpoint_child import forked, status

Train = Callable[[Any, Any, WarmState | None], TrainedModel]


def as_before(home: Path) -> Train:
    """A training that takes no time: the same weights every night, good enough for the gate."""

    def train(log: Any, config: Any, before: WarmState | None) -> TrainedModel:
        split: Split = hold_out_newest_day(
            log, share=CONFIG.held_out, recent_days=None, seed=CONFIG.seed
        )
        model = MIND(log, CONFIG.model, generator=torch.Generator().manual_seed(0))
        model.load_state_dict(torch.load(home / "weights.pt"))
        model.eval()
        record = EpochRecord(1, 1, 1.0, {"Recall@5": 0.5}, 1e-3, 1.0, 1.0)
        carried = None if before is None else WarmStart(1, 1)
        return TrainedModel(model, split, Fit([record], 1, "cpu"), "Recall@5", 0.5, carried, 1.0)

    return train


def prepare(home: Path) -> None:
    """A registry of two versions, and what the third will write. All of one evening."""
    written = home / "written"
    log = daily_logs()[0]
    model = pipeline.train(log, CONFIG, None).model
    torch.save(model.state_dict(), home / "weights.pt")
    pipeline.train = as_before(home)
    Bundle.write(written, version="any", model=model, log=log, counts=log.item_counts())
    registry = Registry(home / "template")
    copy_instead(home)
    for _ in range(2):
        refresh(registry, log, CONFIG)


def copy_instead(home: Path) -> None:
    """Let versions be copied, file by file, instead of being exported."""

    def write(folder: Path, **parts: Any) -> Path:
        partial = folder.with_name(f".{folder.name}.0123.partial")
        for path in sorted((home / "written").rglob("*")):
            if path.is_file():
                place = partial / path.relative_to(home / "written")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
        partial.rename(folder)
        return folder

    Bundle.write = staticmethod(write)  # type: ignore[method-assign]


class Events:
    """Counts what a refresh does to the folder; before one of these steps it dies.

    Args:
        fatal: the number of that step.
        snapshots: where to copy the folder before each step, if it has changed.
    """

    def __init__(self, folder: Path, fatal: int | None, snapshots: Path | None = None) -> None:
        self.folder, self.fatal, self.snapshots = folder, fatal, snapshots
        self.names: list[str] = []
        self.seen: list[dict[str, bytes]] = []
        self.copying = False
        self.watch(os, "replace")
        self.watch(os, "fsync")
        self.watch(Path, "mkdir")
        self.watch(Path, "rename")
        self.watch(Path, "unlink")
        self.watch(Path, "write_text")
        self.watch(registries.shutil, "rmtree")
        self.watch(registries.shutil, "copy")
        self.watch(pipeline, "train")
        self.watch(pipeline, "save_file")
        self.watch(pipeline, "check_version")

    def watch(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            if not self.copying:
                self.happens(name)
            return original(*arguments, **options)

        setattr(owner, name, watched)

    def happens(self, name: str) -> None:
        if len(self.names) == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)
        if self.snapshots is None:
            return
        now = {str(p): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}
        if not self.seen or now != self.seen[-1]:
            self.copying = True
            shutil.copytree(self.folder, self.snapshots / f"{len(self.names) - 1:03d}")
            self.copying = False
            self.seen.append(now)


def look(folder: Path) -> dict[str, Any]:
    """What a registry serves, whether that can be loaded, and what lies about."""
    registry = Registry(folder)
    current = registry.current()
    assert current is not None
    return {
        "current": current,
        "loaded": load_version(registry, current).version,
        "versions": sorted(path.name for path in registry.versions.iterdir()),
        "numbers": [record.number for record in registry.history()],
        "rest": sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.name[0] == "." or path.suffix in (".part", ".holder")
        ),
    }


def night(home: Path, folder: Path, fatal: int | None) -> None:
    """One refresh, killed at a step. The same log, so that what was written fits."""
    pipeline.train = as_before(home)
    copy_instead(home)
    log = daily_logs()[0]
    Events(folder, fatal)
    refresh(Registry(folder), log, CONFIG)


def record(home: Path) -> None:
    """One refresh that nobody kills, and the folder before each of its steps."""
    pipeline.train = as_before(home)
    copy_instead(home)
    log, folder = daily_logs()[0], home / "dry"
    shutil.copytree(home / "template", folder)
    (home / "steps").mkdir()
    events = Events(folder, None, home / "steps")
    refresh(Registry(folder), log, CONFIG)
    events.copying = True
    (home / "events.json").write_text(json.dumps(events.names), encoding="utf-8")


def go_on(home: Path, folders: list[Path], into: Path) -> None:
    """What each of these folders serves, and what it does after another refresh."""
    pipeline.train = as_before(home)
    copy_instead(home)
    outcomes = {}
    for folder in folders:
        after = look(folder)
        refresh(Registry(folder), daily_logs()[0], CONFIG)
        outcomes[folder.name] = {"after": after, "again": look(folder)}
    into.write_text(json.dumps(outcomes), encoding="utf-8")


def main(home: Path) -> dict[str, Any]:
    """The folder before each step, gone on from; and some steps at which a process is killed."""
    assert status(forked(lambda: prepare(home))) == 0
    assert status(forked(lambda: record(home))) == 0
    events: list[str] = json.loads((home / "events.json").read_text(encoding="utf-8"))
    killed = []
    last = {name: number for number, name in enumerate(events)}
    for fatal in sorted(
        last[name] for name in ("train", "copy", "check_version", "rename", "replace")
    ):
        folder = home / "kills" / f"{fatal:03d}"
        shutil.copytree(home / "template", folder)
        code = status(forked(lambda folder=folder, fatal=fatal: night(home, folder, fatal)))
        killed.append({"event": events[fatal], "code": code})
    results = {}
    for kind in ("steps", "kills"):
        folders, into = sorted((home / kind).iterdir()), home / f"{kind}.json"
        assert status(forked(lambda f=folders, i=into: go_on(home, f, i))) == 0
        results[kind] = json.loads(into.read_text(encoding="utf-8"))
    return {"events": events, "killed": killed, **results}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as home:
        json.dump(main(Path(home)), sys.stdout)
