"""New versions are deployed under load; no request is lost or mixed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mindlib.online.artifacts import ArtifactError
from mindlib.online.refresh import Follower, Registry, load_version
from mindlib.online.refresh.registry import _Pointer
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.stages import PlatformConfig
from mindlib.online.serving.store import SqliteStore
from tests.online.refresh.world import daily_logs
from tests.online.serving.conftest import NO_TIMEOUTS
from tests.reliability import behaves

pytestmark = pytest.mark.slow

USERS = (3, 4, 5, 6)


@pytest.fixture
def platform(registry, tmp_path) -> Iterator[PersonalityPlatform]:
    with closing(SqliteStore(tmp_path / "store.sqlite")) as store:
        store.import_log(daily_logs()[1])
        config = PlatformConfig(
            max_candidates=30, max_slate_size=10, workers=2, timeouts=NO_TIMEOUTS
        )
        with closing(PersonalityPlatform(store, load_version(registry, 1), config)) as platform:
            yield platform


def test_the_current_version_is_deployed_also_after_a_rollback(registry):
    taken: list[Bundle] = []
    follower = Follower(registry, taken.append)
    assert follower.serving is None
    assert follower.poll()
    assert follower.serving == 2
    assert not follower.poll()
    registry.rollback()
    assert follower.poll()
    assert [bundle.version for bundle in taken] == ["0002", "0001"]
    assert follower.error is None


def test_before_the_first_version_nothing_is_deployed(tmp_path):
    taken: list[Bundle] = []
    follower = Follower(Registry(tmp_path / "empty"), taken.append)
    assert not follower.poll()
    assert (taken, follower.error) == ([], None)
    with pytest.raises(ValueError, match=r"seconds=0\.0"):
        Follower(Registry(tmp_path / "empty"), taken.append, seconds=0.0)


def test_a_damaged_version_is_not_deployed(registry, platform):
    follower = Follower(registry, platform.use)
    index = registry.path(2) / "bundle" / "index.safetensors"
    whole = index.read_bytes()
    index.write_bytes(whole[:-10])
    assert not follower.poll()
    assert isinstance(follower.error, ArtifactError)
    assert platform.bundle.version == "0001"
    index.write_bytes(whole)
    assert follower.poll()
    assert follower.error is None
    assert platform.bundle.version == "0002"
    behaves(
        "Versions and refresh",
        "the current version is damaged on the disk",
        "it is not deployed, the server keeps the previous one, and Follower.error names the file",
    )


def test_a_missing_pointer_is_an_error_and_the_version_stays(registry, platform):
    follower = Follower(registry, platform.use)
    assert follower.poll()
    pointer = registry.folder / "current"
    content = pointer.read_text()
    pointer.unlink()
    assert not follower.poll()
    assert "current is missing, but there are the versions [1, 2]" in str(follower.error)
    assert platform.bundle.version == "0002"
    pointer.write_text(content)
    registry.rollback()
    assert follower.poll()
    assert (platform.bundle.version, follower.error) == ("0001", None)
    behaves(
        "Versions and refresh",
        "the file `current` is deleted while a server follows the registry",
        "the server keeps its version, Follower.error names the remedy; then it follows again",
    )


def test_an_error_of_the_platform_is_kept_and_the_version_not_counted_as_serving(registry):
    def use(bundle: Bundle) -> None:
        raise RuntimeError("it cannot be used")

    follower = Follower(registry, use)
    assert not follower.poll()
    assert follower.serving is None
    assert "cannot be used" in str(follower.error)


def test_under_load_each_request_is_answered_by_one_version(registry, platform):
    expected = {}
    for number in (1, 2):
        platform.use(load_version(registry, number))
        for user in USERS:
            answer = platform.recommend(user)
            assert not [f for f in answer.fallbacks if f.stage != "rank"]
            expected[answer.version, user] = answer.items
    assert any(expected["0001", user] != expected["0002", user] for user in USERS)

    ended = threading.Event()
    answers: list[list[tuple[str, int, tuple]]] = [[] for _ in USERS]
    errors: list[BaseException] = []

    def ask(own: list[tuple[str, int, tuple]], user: int) -> None:
        try:
            while not ended.is_set():
                answer = platform.recommend(user)
                own.append((answer.version, user, answer.items))
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=ask, args=(own, user))
        for own, user in zip(answers, USERS, strict=True)
    ]
    with Follower(registry, platform.use, seconds=0.01) as follower:
        for thread in threads:
            thread.start()
        try:
            for turn in range(6):
                _point(registry.folder, [1, 2] if turn % 2 else [1])
                wanted, seen = 1 + turn % 2, [len(own) for own in answers]
                _wait(
                    lambda wanted=wanted, seen=seen: (
                        follower.serving == wanted
                        and all(len(own) > n + 1 for own, n in zip(answers, seen, strict=True))
                    )
                )
        finally:
            ended.set()
            for thread in threads:
                thread.join()
    assert errors == []
    assert follower.error is None
    told = [answer for own in answers for answer in own]
    assert {version for version, *_ in told} == {"0001", "0002"}
    for version, user, items in told:
        assert items == expected[version, user]


def _point(folder: Path, served: list[int]) -> None:
    registry = Registry(folder)
    with registry._pointer_lock():
        registry._write_pointer(_Pointer(served, [n for n in (1, 2) if n not in served]))


def _wait(reached, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < until, "the condition was not reached in time"
        time.sleep(0.01)
