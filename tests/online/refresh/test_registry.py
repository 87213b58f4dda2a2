"""The current version under concurrent reads, writes and killed processes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mindlib.online.refresh.registry import ConcurrentUpdate, RefreshInProgress, Registry

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
    with registry.refresh_lock(), registry.staging_dir() as (number, folder):
        (folder / "content").write_text(word)
        registry.promote(number, folder, {"word": word}, registry.current())
    return number


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
    with pytest.raises(ValueError, match="no previous version"):
        registry.rollback()
    assert Registry(registry.folder).current() == 1
    assert Registry(registry.folder).history() == registry.history()


def test_a_version_that_is_not_promoted_leaves_no_file(registry):
    make(registry)
    with registry.staging_dir() as (number, folder):
        (folder / "content").write_text("half")
    assert number == 2
    assert not folder.exists()
    assert [path.name for path in registry.versions.iterdir()] == ["0001"]


def test_a_rejection_is_recorded_and_its_number_not_used_again(registry):
    make(registry)
    with registry.refresh_lock(), registry.staging_dir() as (number, _):
        registry.reject(number, {"reasons": ["no good"]})
    assert registry.current() == 1
    assert registry.history()[-1].state == "rejected"
    assert registry.history()[-1].facts == {"reasons": ["no good"]}
    assert make(registry) == 3


def test_a_version_does_not_replace_another_than_it_was_made_to_follow(registry):
    make(registry, "a")
    make(registry, "b")
    with registry.refresh_lock(), registry.staging_dir() as (number, folder):
        before = registry.current()
        registry.rollback()  # does not wait for the refresh that runs
        with pytest.raises(ConcurrentUpdate, match=r"version 3 was made .* version 2, .* is 1 now"):
            registry.promote(number, folder, {}, before)
    assert registry.current() == 1
    assert states(registry) == [(1, "current"), (2, "rolled back")]


def test_incomplete_versions_and_versions_never_served_are_deleted(registry):
    make(registry, "a")
    make(registry, "b")
    registry.rollback()
    for name in (".0003.partial", "0003", "0007"):
        (registry.versions / name).mkdir()
        (registry.versions / name / "content").write_text("half")
    for folder in (registry.folder, registry.rejected):
        (folder / ".x.1.partial").write_text("half")
    with registry.refresh_lock():
        assert sorted(path.name for path in registry.versions.iterdir()) == ["0001", "0002"]
        assert not [*registry.folder.glob(".*.partial"), *registry.rejected.glob(".*.partial")]
    assert make(registry) == 3


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
        finally:
            other.send_signal(signal.SIGKILL)
    # The file that it left names it, but does not block others.
    left = json.loads((registry.folder / "refresh.holder").read_text())
    assert left["process"] == other.pid
    assert make(registry) == 2


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": "another"}', '{"format": "mindlib registry 2"}']
)
def test_a_damaged_pointer_is_named_with_its_remedy(registry, content):
    make(registry)
    (registry.folder / "current").write_text(content)
    with pytest.raises(ValueError, match=re.escape(str(registry.folder / "current"))) as error:
        registry.current()
    # The remedy in the message works.
    remedy = re.search(r"into it: (\{.*\})", str(error.value))
    assert remedy is not None
    (registry.folder / "current").write_text(remedy[1].replace("NUMBER", "1"))
    assert registry.current() == 1


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="the registry cannot be created"):
        Registry(tmp_path / "file" / "registry")
