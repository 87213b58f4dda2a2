"""Files and folders that are written completely or not at all, checksums, and the cache folder.

Everything that mindlib writes goes through this module: a reader never meets half a file, and an
older file stays in place when writing fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".partial"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends, the file there replaces `path`.

    The file is flushed to disk before it is renamed, and its permissions are those of any new file
    (safetensors writes files that only their owner can read).

    Raises:
        OSError: the folder does not exist or cannot be written. An older file is untouched.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    partial.touch()
    mode = partial.stat().st_mode & 0o777
    try:
        yield partial
        partial.chmod(mode)
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `path`; when the block ends, it is renamed to `path`.

    Raises:
        OSError: the folder cannot be made, or `path` exists and is not an empty folder.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        partial.mkdir(parents=True)
        yield partial
        for part in (*partial.rglob("*"), partial):
            sync(part)
        partial.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file or a folder to disk, so that it survives a loss of power."""
    if path.is_dir() and os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
    """Create a folder of the cache if it does not exist.

    Raises:
        OSError: the folder cannot be created or written; the message names MINDLIB_CACHE.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(
            error.errno,
            f"the cache directory cannot be written ({error.strerror}); set the environment "
            f"variable MINDLIB_CACHE to a folder that can",
            str(folder),
        ) from error
