"""Refreshes that are killed before each change of the folder; run by test_killed.py, prints JSON.

    python -m tests.online.refresh.refresh_child FOLDER

Processes are forked, so that imports happen once. The parent computes nothing, because the threads
of polars and torch do not survive a fork. Training and export are replaced by files that a child
has written before.
"""

import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import mindlib.data.tensor_file as tensor_file
import mindlib.online.refresh.pipeline as pipeline
from mindlib.online.refresh import Registry, load_version, refresh
from mindlib.online.serving.bundle import Bundle
from tests.online.refresh.world import CONFIG, daily_logs
from tests.training.checkpoint_child import forked, status

# Everything by which a refresh changes its folder, and the checks before the promotion.
EVENTS: list[tuple[Any, str]] = [
    (os, "replace"),
    (Path, "mkdir"),
    (Path, "rename"),
    (Path, "unlink"),
    (Path, "write_text"),
    (shutil, "rmtree"),
    (shutil, "copy"),
    (tensor_file, "save_file"),
    (pipeline, "check_version"),
]


def prepare(home: Path) -> None:
    """Train and export once, and make a registry of two versions."""
    log = daily_logs()[0]
    trained = pipeline.train(log, CONFIG, None)
    (home / "trained").write_bytes(pickle.dumps(trained))
    model, counts = trained.model, log.item_counts()
    Bundle.write(home / "written", version="any", model=model, log=log, counts=counts)
    replace_training_and_export(home)
    for _ in range(2):
        refresh(Registry(home / "template"), log, CONFIG)


def replace_training_and_export(home: Path) -> None:
    """Read the trained model instead of training, and copy the files of a bundle one by one."""

    def write(folder: Path, **parts: Any) -> Path:
        partial = folder.with_name(f".{folder.name}.0123.partial")
        copy = lambda *pair: shutil.copy(*pair)  # noqa: E731 - the function of that moment
        shutil.copytree(home / "written", partial, copy_function=copy)
        partial.rename(folder)
        return folder

    pipeline.train = lambda *_: pickle.loads((home / "trained").read_bytes())
    Bundle.write = staticmethod(write)  # type: ignore[method-assign]


def kill_before(fatal: int, note: Path) -> None:
    """Let this process die by SIGKILL before its n-th event, whose name is written to a file."""
    count = 0

    def watch(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            if count == fatal:
                with open(note, "w") as file:
                    file.write(name)
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return original(*arguments, **options)

        setattr(owner, name, watched)

    for owner, name in EVENTS:
        watch(owner, name)


def describe(folder: Path) -> dict[str, Any]:
    """What a registry serves, whether that can be loaded, and all leftovers."""
    registry = Registry(folder)
    current = registry.current()
    assert current is not None
    return {
        "current": current,
        "loaded": load_version(registry, current).version,
        "versions": sorted(path.name for path in registry.versions.iterdir()),
        "numbers": [record.number for record in registry.history()],
        "leftovers": sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.name[0] == "." or path.suffix in (".partial", ".holder")
        ),
    }


def killed_refresh(home: Path, folder: Path, fatal: int) -> None:
    replace_training_and_export(home)
    log = daily_logs()[0]  # the same log each time, so that the written files fit
    kill_before(fatal, folder.with_suffix(".event"))
    refresh(Registry(folder), log, CONFIG)


def resume(home: Path, folders: list[Path]) -> None:
    """Describe each folder as the kill left it, and after another refresh."""
    replace_training_and_export(home)
    outcomes = []
    for folder in folders:
        after = describe(folder)
        refresh(Registry(folder), daily_logs()[0], CONFIG)
        event = folder.with_suffix(".event").read_text(encoding="utf-8")
        outcomes.append({"event": event, "after": after, "again": describe(folder)})
    (home / "outcomes.json").write_text(json.dumps(outcomes), encoding="utf-8")


def main(home: Path) -> list[dict[str, Any]]:
    """Kill one refresh before each of its events, and resume from what it left."""
    assert status(forked(lambda: prepare(home))) == 0
    folders: list[Path] = []
    while True:
        folder = home / f"{len(folders):03d}"
        shutil.copytree(home / "template", folder)
        code = status(forked(lambda f=folder: killed_refresh(home, f, len(folders))))
        if code == 0:  # it ended before that event
            break
        assert code == -signal.SIGKILL, code
        folders.append(folder)
    assert status(forked(lambda: resume(home, folders))) == 0
    return json.loads((home / "outcomes.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as home:
        json.dump(main(Path(home)), sys.stdout)
