"""The current version under concurrent reads, writes and killed processes."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from mindlib.online.refresh.registry import ConcurrentUpdate, RefreshInProgress, Registry
from tests.reliability import behaves, refuses

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from mindlib.online.refresh.registry import Registry
with Registry(sys.argv[1]).refresh_lock():
    print("holding", flush=True)
    time.sleep(600)
"""


def make(registry: Registry, word: str = "good") -> int:
    """A version of one file."""
    with registry.refresh_lock(), registry.new_version() as (number, folder, facts):
        (folder / "content").write_text(word)
        facts["word"] = word
    return number


def reject(registry: Registry) -> None:
    with suppress(RuntimeError), registry.refresh_lock(), registry.new_version() as (number, _, _):
        registry.reject(number, {"reasons": ["no good"]})
        raise RuntimeError


@pytest.fixture
def registry(tmp_path) -> Registry:
    return Registry(tmp_path / "registry")


def states(registry: Registry) -> list[tuple[int, str]]:
    return [(record.number, record.state) for record in registry.history()]


def test_versions_follow_each_other_and_a_rollback_is_one_call(registry):
    assert registry.current() is None
    assert registry.history() == []
    with pytest.raises(ValueError, match="no version"):
        registry.rollback()
    assert [make(registry, word) for word in ("a", "b", "c")] == [1, 2, 3]
    assert registry.current() == 3
    assert registry.rollback() == 2
    assert registry.current() == 2
    assert states(registry) == [(1, "served before"), (2, "current"), (3, "rolled back")]
    # A number is never given twice, and the version before the new one is the one gone back to.
    assert make(registry, "d") == 4
    assert registry.rollback() == 2
    assert registry.rollback() == 1
    assert [record.facts["word"] for record in registry.history()] == ["a", "b", "c", "d"]
    assert [registry.path(n).is_dir() for n in range(1, 5)] == [True] * 4
    fault = "a rollback of the only version that was served"
    with refuses("Versions and refresh", fault, ValueError, match="no previous version"):
        registry.rollback()
    assert Registry(registry.folder).current() == 1
    assert Registry(registry.folder).history() == registry.history()


def test_a_version_that_is_not_completed_leaves_no_file(registry):
    make(registry)
    with suppress(KeyboardInterrupt), registry.new_version() as (number, folder, _):
        assert number == 2
        (folder / "content").write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in registry.versions.iterdir()] == ["0001"]


def test_a_rejection_is_recorded_and_its_number_not_used_again(registry):
    make(registry)
    reject(registry)
    assert registry.current() == 1
    assert states(registry) == [(1, "current"), (2, "rejected")]
    assert registry.history()[-1].facts == {"reasons": ["no good"]}
    assert make(registry) == 3


def test_a_version_does_not_replace_another_than_it_was_made_to_follow(registry):
    make(registry, "a")
    make(registry, "b")
    fault, match = "a rollback while a refresh runs", "made .* version 2, .* is 1 now"
    with (
        refuses("Versions and refresh", fault, ConcurrentUpdate, match=match),
        registry.refresh_lock(),
        registry.new_version(),
    ):
        registry.rollback()  # does not wait for the refresh that runs
    assert registry.current() == 1
    assert states(registry) == [(1, "current"), (2, "rolled back")]


def test_only_the_leftovers_of_a_killed_refresh_are_deleted(registry):
    make(registry, "a")
    make(registry, "b")
    registry.rollback()
    leftovers = [
        registry.versions / ".0003.0123456789ab.partial" / "0003",
        registry.versions / ".0003.0123456789ab.lock",
        registry.folder / ".current.0123456789ab.partial" / "content",
        registry.folder / ".current.0123456789ab.lock",
        registry.folder / ".refresh.holder.0123456789ab.partial" / "content",
        registry.folder / ".refresh.holder.0123456789ab.lock",
        registry.rejected / ".0005.json.0123456789ab.partial" / "content",
        registry.rejected / ".0005.json.0123456789ab.lock",
    ]
    foreign = [
        registry.versions / "backup" / "content",
        registry.versions / "0003 (copy)" / "content",
        registry.versions / ".mine.partial" / "content",
        registry.folder / ".notes.partial",
        registry.rejected / ".x.partial" / "content",
        registry.rejected / "notes.json",
    ]
    for path in (*leftovers, *foreign):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    with registry.refresh_lock():
        assert not any(path.exists() for path in leftovers)
        assert not list(registry.versions.glob(".0003*"))
    assert make(registry) == 3
    assert all(path.read_text() == "half" for path in foreign)
    assert [number for number, _ in states(registry)] == [1, 2, 3]
    behaves(
        "Versions and refresh",
        "the registry has folders that mindlib did not write",
        "they are ignored, and the next refresh deletes only its own temporary folders",
    )


def test_a_version_whose_refresh_was_killed_before_the_pointer_is_kept_but_not_served(registry):
    make(registry, "a")
    killed = patch.object(Registry, "_write_pointer", side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        make(registry, "b")
    assert registry.current() == 1
    assert states(registry) == [(1, "current"), (2, "not served")]
    assert make(registry, "c") == 3
    assert states(registry) == [(1, "served before"), (2, "not served"), (3, "current")]
    assert registry.rollback() == 1
    behaves(
        "Versions and refresh",
        "kill -9 after a version is renamed and before it is served",
        'the version stays on the disk, is listed as "not served", and its number is not reused',
    )


@pytest.mark.parametrize("rejected", [False, True])
def test_a_missing_pointer_is_refused_and_deletes_no_version(registry, rejected):
    for word in "abc":
        make(registry, word)
    registry.rollback()
    if rejected:
        registry.reject(4, {"reasons": ["no good"]})
    before = [(registry.folder / "current").read_text(), states(registry)]
    (registry.folder / "current").unlink()
    numbers = r"versions \[1, 2, 3\] and the rejected numbers \[" + "4" * rejected
    for use in (registry.current, registry.history, registry.rollback, lambda: make(registry)):
        with pytest.raises(ValueError, match=numbers):
            use()
    fault = "the file `current` of a registry is deleted"
    if rejected:
        with refuses("Versions and refresh", fault, ValueError, match="current is missing, but"):
            registry.current()
    (registry.folder / "current").write_text(before[0])
    assert states(registry) == before[1]
    assert make(registry) == 4 + rejected


def test_a_registry_whose_only_versions_were_rejected_misses_its_pointer(registry):
    reject(registry)
    assert registry.current() is None
    (registry.folder / "current").unlink()
    with pytest.raises(ValueError, match=r"versions \[\] and the rejected numbers \[1\]"):
        make(registry)


def test_the_very_first_refresh_may_be_killed_at_any_time(registry):
    with registry.refresh_lock():
        pass
    registry.path(1).mkdir()
    (registry.path(1) / "version.json").write_text("{}")
    assert registry.current() is None
    assert make(registry) == 2


def test_one_refresh_at_a_time(registry):
    with registry.refresh_lock():
        me = f"process {os.getpid()} on .*, since 20"
        with pytest.raises(RefreshInProgress, match=me), Registry(registry.folder).refresh_lock():
            pass
        # The refused process does not release the lock.
        with pytest.raises(RefreshInProgress, match=me), Registry(registry.folder).refresh_lock():
            pass
    with registry.refresh_lock():
        pass


@pytest.mark.slow
def test_one_refresh_at_a_time_among_processes_and_a_dead_one_holds_nothing(registry):
    make(registry)
    command = [sys.executable, "-c", HOLD, str(registry.folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "holding\n"
            with (
                pytest.raises(RefreshInProgress, match=f"process {other.pid} on "),
                registry.refresh_lock(),
            ):
                pass
            assert registry.current() == 1  # readers do not wait
            behaves(
                "Versions and refresh",
                "a second refresh while one runs",
                "RefreshInProgress, which names the process of the first; readers do not wait",
            )
        finally:
            other.send_signal(signal.SIGKILL)
    # The file that it left names it, but does not block others.
    left = json.loads((registry.folder / "refresh.holder").read_text())
    assert left["process"] == other.pid
    assert make(registry) == 2


DAMAGED = {
    "empty": "",
    "cut": "{",
    "a list": "[]",
    "of another format": '{"format": "another", "served": [1], "rolled_back": []}',
    "without its lists": '{"format": "mindlib registry 2"}',
    "nested": "[" * 100_000,
    "with text": '{"format": "mindlib registry 2", "served": ["1"], "rolled_back": []}',
    "with an object": '{"format": "mindlib registry 2", "served": {}, "rolled_back": []}',
    "with a number twice": '{"format": "mindlib registry 2", "served": [1], "rolled_back": [1]}',
}


@pytest.mark.parametrize("content", [pytest.param(DAMAGED[name], id=name) for name in DAMAGED])
def test_a_damaged_pointer_is_named_and_following_the_message_loses_no_version(registry, content):
    for word in "abc":
        make(registry, word)
    pointer = registry.folder / "current"
    pointer.write_text(content)
    with pytest.raises(ValueError, match=r"current.* is damaged") as error:
        make(registry)
    remedy = re.search(r"(\{.*\})$", str(error.value))
    assert remedy is not None
    pointer.write_text(remedy[1])
    assert registry.current() == 3
    assert make(registry) == 4
    pointer.write_text(remedy[1].replace("[1, 2, 3]", "[3]"))
    assert make(registry) == 5
    assert [path.name for path in sorted(registry.versions.iterdir())] == [
        f"000{number}" for number in range(1, 6)
    ]


def test_the_message_about_a_damaged_pointer_lists_every_number(registry):
    make(registry)
    (registry.folder / "current").write_text('{"format": "mindlib registry 2", "served": [1')
    fault = "the file `current` of a registry is truncated"
    with refuses("Versions and refresh", fault, ValueError, match=r'"served": \[1\]'):
        registry.current()


def test_damaged_facts_are_named(registry):
    make(registry)
    (registry.path(1) / "version.json").write_text("{")
    fault = "the facts of a version (version.json) are damaged"
    with refuses("Versions and refresh", fault, ValueError, match=r"version\.json is damaged"):
        registry.history()


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    fault = "a registry in a folder that cannot be created"
    with refuses("Versions and refresh", fault, OSError, match="the registry cannot be created"):
        Registry(tmp_path / "file" / "registry")
