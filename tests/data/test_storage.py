"""Writes are complete or do not happen, and leave no temporary files behind."""

import hashlib
import os
import re
import shutil
import signal
import stat
from pathlib import Path

import pytest
import torch

from mindlib.data.storage import (
    atomic_file,
    atomic_folder,
    checksum,
    digest_of,
    make_cache_folder,
    sync,
)
from mindlib.data.tensor_file import TensorFile, write_tensors
from tests.reliability import behaves

ROOT = Path(__file__).resolve().parents[2]
AREA = "Index, model and version files"
ATOMIC = pytest.mark.parametrize("kind", ["file", "folder"])


def write(kind: str, path: Path, text: str, *, fail: bool = False) -> None:
    with (atomic_file if kind == "file" else atomic_folder)(path) as partial:
        assert partial.parent.parent == path.parent
        (partial if kind == "file" else partial / "part").write_text(text)
        if fail:
            raise RuntimeError("interrupted")


def read(kind: str, path: Path) -> str:
    return (path if kind == "file" else path / "part").read_text()


@ATOMIC
def test_content_appears_when_the_block_ends(kind: str, tmp_path: Path):
    path = tmp_path / "result"
    write(kind, path, "new")
    assert read(kind, path) == "new"
    assert list(tmp_path.iterdir()) == [path]


@ATOMIC
@pytest.mark.parametrize("older", [False, True])
def test_an_interrupted_write_changes_nothing(kind: str, older: bool, tmp_path: Path):
    path = tmp_path / "result"
    if older:
        write(kind, path, "older")
    with pytest.raises(RuntimeError, match="interrupted"):
        write(kind, path, "new", fail=True)
    assert list(tmp_path.iterdir()) == [path] * older
    assert not older or read(kind, path) == "older"


def test_a_file_is_replaced_and_a_folder_is_not(tmp_path: Path):
    write("file", tmp_path / "file", "older")
    write("file", tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    write("folder", tmp_path / "folder", "older")
    with pytest.raises(OSError, match="folder"):
        write("folder", tmp_path / "folder", "new")
    assert read("folder", tmp_path / "folder") == "older"
    assert len(list(tmp_path.iterdir())) == 2


# Ways to write a file, and the names of the blocks in which they are allowed.
WRITES = re.compile(
    r"\b(save_file|np\.savez?|torch\.save|json\.dump|copyfile)\(|\.(write_text|write_bytes)\("
    r"|os\.replace\(|(?<!\w)open\([^)]*[\"'][wax]|\.to_parquet\(|\.write_csv\("
)
IN_A_BLOCK = {
    "mindlib/data/storage.py": 1,  # the rename itself
    "mindlib/data/log_folder.py": 2,
    "mindlib/data/tensor_file.py": 1,
    "mindlib/data/readers/published.py": 1,
    "mindlib/data/readers/pypi_wheels.py": 1,
    "mindlib/experiments/__main__.py": 1,
    "mindlib/online/artifacts.py": 1,  # these three write into `new_folder`
    "mindlib/online/export.py": 2,
    "mindlib/online/serving/bundle.py": 2,
    "mindlib/online/refresh/registry.py": 1,
}


def test_every_file_of_the_library_is_written_in_a_block_of_this_module():
    """A new way to write a file has to be added above, after a look at where it stands."""
    found = {}
    for path in sorted((ROOT / "mindlib").rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        name = str(path.relative_to(ROOT))
        if writes := [line for line in lines if WRITES.search(line)]:
            found[name] = writes
    lessons = [name for name in found if name.startswith("mindlib/lessons/")]
    assert {n: len(w) for n, w in found.items() if n not in lessons} == IN_A_BLOCK, found
    behaves(
        AREA, "a loss of power while a file is written",
        "the older file or the new one is there: every file is flushed to disk before its rename",
    )  # fmt: skip


def test_the_permissions_are_those_of_a_new_file(tmp_path: Path):
    (tmp_path / "plain").touch()
    write_tensors(tmp_path / "result", "mindlib test 1", TensorFile({"x": torch.zeros(3)}, {}))
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "result")]
    assert modes[0] == modes[1]
    behaves(
        AREA, "a server that runs as another user than the writer",
        "it may read every file: permissions follow the umask, also where a library restricts them",
    )  # fmt: skip


@ATOMIC
def test_content_is_flushed_before_it_is_renamed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, flushed = tmp_path / "result", []

    def record(handle: int) -> None:
        flushed.append((os.readlink(f"/proc/self/fd/{handle}"), path.exists()))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to name an open file")
    monkeypatch.setattr(os, "fsync", record)
    write(kind, path, "new")
    assert flushed[-1] == (str(tmp_path), True), "the rename itself is flushed last"
    assert len(flushed) == {"file": 2, "folder": 3}[kind]
    assert not any(renamed for _, renamed in flushed[:-1])


def leave_behind(kind: str, path: Path) -> None:
    """Write in a process that kills itself before the end."""
    child = os.fork()
    if child == 0:
        with (atomic_file if kind == "file" else atomic_folder)(path) as partial:
            (partial.parent / ".tmp1234").touch()  # safetensors writes under such a name
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@ATOMIC
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_a_killed_process_left_is_deleted_by_the_next_write(kind: str, tmp_path: Path):
    path = tmp_path / "result"
    foreign = [tmp_path / name for name in (".other.0123.partial", ".result.partial", "result.x")]
    for other in foreign:
        other.mkdir()
    leave_behind(kind, path)
    assert len(list(tmp_path.iterdir())) == len(foreign) + 2
    with (atomic_file if kind == "file" else atomic_folder)(path) as living:
        assert len(list(tmp_path.iterdir())) == len(foreign) + 2, "only the living one's are there"
        leave_behind(kind, path)
        write(kind, path, "new")
        assert living.exists()
        assert len(list(tmp_path.iterdir())) == len(foreign) + 3
        if kind == "folder":
            shutil.rmtree(path)
    assert sorted(tmp_path.iterdir()) == sorted([*foreign, path])
    behaves(
        AREA, f"kill -9 while a {kind} is written",
        "an older one is unchanged; the next write of that name deletes what was left, and does "
        "not touch what a living process is writing",
    )  # fmt: skip


def test_sync_accepts_files_and_folders(tmp_path: Path):
    (tmp_path / "file").touch()
    sync(tmp_path / "file")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")


def test_checksum_has_size_and_sha256(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"abc")
    expected = {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert checksum(tmp_path / "file") == expected


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path: Path):
    make_cache_folder(tmp_path / "new" / "cache")
    assert list((tmp_path / "new" / "cache").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"MINDLIB_CACHE.*file/cache"):
        make_cache_folder(tmp_path / "file" / "cache")


def test_the_order_of_facts_does_not_matter():
    assert digest_of({"a": 1, "b": [1]}) == digest_of({"b": [1], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})
