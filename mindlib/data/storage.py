"""Files and folders that are written completely or not at all, checksums, and the cache folder.

Everything that mindlib writes goes through this module: a reader never meets half a file, and an
older file stays in place when writing fails.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from filelock import FileLock

PARTIAL, LOCK = ".partial", ".lock"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; when the block ends, the file there replaces `path`.

    The file is flushed to disk before it is renamed, and its permissions are those of any new file
    (safetensors writes files that only their owner can read). What a killed process left while it
    wrote the same file is deleted.

    Raises:
        OSError: the folder does not exist or cannot be written. An older file is untouched.
    """
    with _beside(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode & 0o777
        yield partial
        partial.chmod(mode)
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to write to; when the block ends, it is renamed to `path`.

    What a killed process left while it wrote the same folder is deleted.

    Raises:
        OSError: the folder cannot be made, or `path` exists and is not an empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as partial:
        partial.mkdir()
        yield partial
        for part in (*partial.rglob("*"), partial):
            sync(part)
        partial.rename(path)
        sync(path.parent)


def sweep(folder: Path, pattern: str) -> None:
    """Delete what killed processes left while they wrote files or folders of such names.

    A writer holds a lock, which the operating system releases when the process dies.
    """
    for lock in folder.glob(f".{pattern}.{'[0-9a-f]' * 12}{LOCK}"):
        with suppress(OSError):  # a living writer holds it
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.with_suffix(PARTIAL), ignore_errors=True)
            lock.unlink()


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yield a path in a new folder beside `path`, where libraries may leave files of their own."""
    sweep(path.parent, glob.escape(path.name))
    path.parent.stat()  # FileLock would create a missing folder
    lock = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{LOCK}")
    folder = lock.with_suffix(PARTIAL)
    try:
        with FileLock(lock):
            folder.mkdir()
            yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)


@contextmanager
def explained(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Let an error of the file system name what could not be done with `path`, and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not of the file system: Milvus does not answer
            raise
        text = f"{what} ({error.strerror}){remedy}"
        raise type(error)(error.errno, text, str(path)) from error


def sync(path: Path) -> None:
    """Flush a file or a folder to disk, so that it survives a loss of power."""
    if path.is_dir() and os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_object(path: Traversable, remedy: str = "") -> dict[str, Any]:
    """Read an object in JSON, or raise ValueError with a message that ends with the remedy."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("expected an object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}){remedy}") from error
    return content


def digest_of(facts: object) -> str:
    """Compute the sha256 of a value that JSON can hold; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def checksum(path: Path) -> dict[str, Any]:
    """Compute the size and the sha256 of a file, as a manifest records them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def cache_directory() -> Path:
    """Return $MINDLIB_CACHE, or else `mindlib` in $XDG_CACHE_HOME, or else ~/.cache/mindlib."""
    if chosen := os.environ.get("MINDLIB_CACHE"):
        return Path(os.path.expanduser(chosen))
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mindlib"


def make_cache_folder(folder: Path) -> None:
    """Create a folder of the cache, or raise OSError with a message that names MINDLIB_CACHE."""
    remedy = "; set the environment variable MINDLIB_CACHE to a folder that can"
    with explained(folder, "the cache directory cannot be written", remedy):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
