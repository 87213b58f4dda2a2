"""Refreshes in processes that are killed; run by test_killed.py, prints JSON.

    python -m tests.refresh.refresh_child FOLDER

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
from pathlib import Path
from typing import Any

import torch

import mindlib.refresh.nightly as nightly
import mindlib.refresh.registry as registries
from mindlib.data.splits import Split
from mindlib.models import MIND
from mindlib.refresh import Registry, load_version, refresh
from mindlib.refresh.days import newest_day
from mindlib.refresh.nightly import Kept, Trained
from mindlib.refresh.warm import WarmStart
from mindlib.serving.bundle import Bundle
from mindlib.training import EpochRecord, Fit
from tests.checkpoint_child import forked, status
from tests.refresh.world import CONFIG, evenings


def untrained(log: Any, config: Any, before: Kept | None) -> Trained:
    """The same weights every night: whether they are good is not the question here."""
    split: Split = newest_day(log, share=0.8, recent_days=None, seed=0)
    model = MIND(log, CONFIG.model, generator=torch.Generator().manual_seed(0))
    model.eval()
    record = EpochRecord(1, 1, 1.0, {"Recall@5": 0.5}, 1e-3, 1.0, 1.0)
    carried = None if before is None else WarmStart(1, 1)
    return Trained(model, split, Fit([record], 1, "cpu"), "Recall@5", 0.5, carried, 1.0)


def prepare(home: Path) -> None:
    """A registry of two versions, and what the third will write. All of one evening."""
    nightly.train = untrained
    written = home / "written"
    log = evenings()[0]
    model = untrained(log, CONFIG, None).model
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
    """Counts what a refresh does to the folder; dies just before one of these steps."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal, self.names = fatal, []
        self.watch(os, "replace")
        self.watch(os, "fsync")
        self.watch(Path, "mkdir")
        self.watch(Path, "rename")
        self.watch(Path, "unlink")
        self.watch(Path, "write_text")
        self.watch(registries.shutil, "rmtree")
        self.watch(registries.shutil, "copy")
        self.watch(nightly, "train")
        self.watch(nightly, "save_file")
        self.watch(nightly, "examine")

    def watch(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            self.happens(name)
            return original(*arguments, **options)

        setattr(owner, name, watched)

    def happens(self, name: str) -> None:
        if len(self.names) == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)


def night(home: Path, folder: Path, fatal: int | None, names: Path | None = None) -> None:
    """One refresh, killed at an event."""
    nightly.train = untrained
    copy_instead(home)
    log = evenings()[0]  # the same log: the same catalogue as what was written
    registry = Registry(folder)
    events = Events(fatal)
    refresh(registry, log, CONFIG)
    if names:
        names.write_bytes(json.dumps(events.names).encode())


def look(folder: Path, into: Path) -> None:
    """What the registry serves, and whether that can be loaded."""
    registry = Registry(folder)
    current = registry.current()
    assert current is not None
    states = [(record.number, record.state) for record in registry.history()]
    facts = {
        "current": current,
        "loaded": load_version(registry, current).version,
        "versions": sorted(path.name for path in registry.versions.iterdir()),
        "states": states,
        "rest": sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.name[0] == "." or path.suffix in (".part", ".holder")
        ),
    }
    into.write_text(json.dumps(facts), encoding="utf-8")


def every_event(home: Path) -> dict[str, Any]:
    """Kill at each event in turn; look; refresh again without harm; look again."""
    assert status(forked(lambda: prepare(home))) == 0
    dry, names_file = home / "dry", home / "names.json"
    shutil.copytree(home / "template", dry)
    assert status(forked(lambda: night(home, dry, None, names_file))) == 0
    names = json.loads(names_file.read_text(encoding="utf-8"))
    outcomes = []
    for fatal, name in enumerate(names):
        folder = home / f"killed-{fatal}"
        shutil.copytree(home / "template", folder)
        outcome: dict[str, Any] = {"event": name}

        def die(folder: Path = folder, fatal: int = fatal) -> None:
            night(home, folder, fatal)

        outcome["killed"] = status(forked(die))
        for when in ("after", "again"):
            into = home / f"{when}-{fatal}.json"
            assert status(forked(lambda f=folder, i=into: look(f, i))) == 0
            outcome[when] = json.loads(into.read_text(encoding="utf-8"))
            if when == "after":
                outcome["went_on"] = status(forked(lambda f=folder: night(home, f, None)))
        shutil.rmtree(folder)
        outcomes.append(outcome)
    return {"events": names, "outcomes": outcomes}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as home:
        json.dump(every_event(Path(home)), sys.stdout)
