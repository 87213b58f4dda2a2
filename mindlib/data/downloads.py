"""One file over HTTP, which arrives whole or not at all, and goes on where it was cut.

Our own, on the standard library: pooch, which checks checksums, starts anew after a cut, and httpx
and requests leave all of this to their caller.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import re
import time
import zipfile
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from mindlib.data.transfer import CHUNK, Interrupted, Transfer, beside, write

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between two attempts
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def download(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    attempts: int = 5,
    timeout: float | int = 30,
    progress: bool = True,
) -> Path:
    """The file at `path`, fetched from `url` if it is not there yet.

    What comes is written to `path.part`, and gets its name only when it is whole and right. After
    a cut this call, or a later one, goes on where it was cut, if the server can do that (Range)
    and it is certain to be the same file: the server vouches for it (ETag, Last-Modified), or
    `sha256` will tell. Otherwise it starts anew. The part is kept when the network fails or the
    disk is full; it is removed when its content is wrong, since more of it would not help.

    What is checked: the length that the server promises, `size` and `sha256`. Without `sha256` a
    .gz or .zip is read through, for its own checksums. A file of which nothing tells whether it
    is whole is refused. What came is recorded in `path.sha256`, which `sha256sum --check` reads;
    a later call holds the file against it, and so notices that it has changed.

    Several processes may ask for the same file: one fetches it, the others wait.

    Args:
        url: http or https; proxies are taken from the environment.
        path: where the file shall be; its folder is made.
        sha256: its checksum, 64 hexadecimal digits.
        size: its length in bytes.
        attempts: how many connections in a row may bring nothing new; the pauses between them
            grow from one second to a minute.
        timeout: seconds without an answer after which a connection counts as cut.
        progress: show a bar.

    Returns:
        The path.

    Raises:
        ValueError: an argument is out of range; or what came, or was there already, is not what
            was expected.
        OSError: the folder cannot be written, or the disk has too little space.
        RuntimeError: the server refuses (it has no such file, say), or the attempts are used up.
    """
    _check_arguments(url, sha256, size, attempts, timeout)
    target = Path(path).expanduser()
    if target.is_dir():
        raise ValueError(f"{target} is a folder; name the file in it that shall hold {url}")
    if _there(target, url, sha256, size):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(beside(target, ".lock")):
            if not _there(target, url, sha256, size):  # another process may have fetched it
                _fetch(Transfer(url, target, sha256, size, timeout, progress), attempts)
        with suppress(OSError):  # who still waits for it finds the file
            beside(target, ".lock").unlink()
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        raise type(error)(
            error.errno,
            f"the folder for {url} cannot be written ({error.strerror}); choose another path, or "
            f"get the right to write there",
            str(target.parent),
        ) from error
    return target


def _fetch(transfer: Transfer, attempts: int) -> None:
    transfer.discard_foreign()
    fruitless, furthest = 0, transfer.done
    while True:
        try:
            transfer.receive()
            break
        except Interrupted as error:
            fruitless = 0 if transfer.done > furthest else fruitless + 1
            furthest = max(furthest, transfer.done)
            if fruitless == attempts:
                raise RuntimeError(
                    f"{transfer.url}: gave up after {attempts} attempts in a row that brought "
                    f"nothing new, the last because {error}. {transfer.done:,} bytes are in "
                    f"{transfer.part}: check the address and the network, and call again"
                ) from error
            time.sleep(min(FIRST_PAUSE * 2**fruitless, LONGEST_PAUSE))
    try:
        digest = _verified(transfer)
    except ValueError:
        transfer.discard()
        raise
    os.replace(transfer.part, transfer.target)
    transfer.discard()  # the note
    length, day = transfer.target.stat().st_size, datetime.now(UTC).date()
    record = f"# {transfer.url}, {length} bytes, fetched {day}\n{digest}  {transfer.target.name}\n"
    write(beside(transfer.target, ".sha256"), record)


def _verified(transfer: Transfer) -> str:
    """The checksum of what came, if that is what was expected."""
    url, part, total = transfer.url, transfer.part, transfer.note.total
    if total is not None and transfer.done != total:
        raise ValueError(
            f"{url} sent {transfer.done:,} bytes, expected {total:,}; what came was removed: try "
            f"again, or ask the owner which is right"
        )
    digest, suffix = _sha256(part), transfer.target.suffix
    if transfer.sha256 is not None:
        if digest != transfer.sha256:
            raise ValueError(
                f"{url} has the sha256 {digest}, expected {transfer.sha256}; what came was "
                f"removed ({_looks(part)}): ask the owner whether the file has changed"
            )
    elif suffix in (".gz", ".zip"):
        if reason := _damage(part, suffix):
            raise ValueError(
                f"{url} sent no whole {suffix} ({reason}); what came was removed "
                f"({_looks(part)}): try again, or fetch the file in a browser"
            )
    elif total is None:
        raise ValueError(
            f"{url}: the server does not say how long the file is, and nothing else tells whether "
            f"it is whole; what came was removed: pass size=... or sha256=..."
        )
    return digest


def _there(target: Path, url: str, sha256: str | None, size: int | None) -> bool:
    """Whether the file is there; if it is, it must be the right one."""
    if not target.is_file():
        return False
    recorded = _recorded(target)
    found = {"length": target.stat().st_size}
    found |= {"sha256": _sha256(target)} if sha256 or recorded else {}
    for what, expected, source in (
        ("length", size, "as asked for"),
        ("sha256", sha256, "as asked for"),
        ("sha256", recorded, f"as {beside(target, '.sha256')} has it"),
    ):
        if expected is not None and found[what] != expected:
            raise ValueError(
                f"{target} is there with the {what} {found[what]}, expected {expected}, {source}; "
                f"delete both files to fetch {url} again, or name another path"
            )
    return True


def _recorded(target: Path) -> str | None:
    record = beside(target, ".sha256")
    if not record.is_file():
        return None
    found = re.search(r"^([0-9a-f]{64})  ", record.read_text(encoding="utf-8"), re.M)
    return found[1] if found else None


def _damage(path: Path, suffix: str) -> str | None:
    """Why an archive cannot be read to its end, if it cannot."""
    try:
        if suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            return f"its member {broken} is damaged" if broken else None
        with gzip.open(path) as file:
            while file.read(CHUNK):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        return str(error)
    return None


def _looks(path: Path) -> str:
    """What a file seems to be that is not what it should be."""
    with path.open("rb") as file:
        head = file.read(200).lstrip()
    page = head.startswith(b"<")
    return "a web page, perhaps one that asks for an account" if page else f"starts {head[:16]!r}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_arguments(
    url: str, sha256: str | None, size: int | None, attempts: int, timeout: float | int
) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"url={url!r}: expected an address that starts with https:// or http://")
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256={sha256!r}: expected 64 lower-case hexadecimal digits")
    if size is not None and size < 1:
        raise ValueError(f"size={size}: expected a number of bytes, at least 1")
    if attempts < 1 or not timeout > 0:
        raise ValueError(
            f"attempts={attempts}, timeout={timeout}: expected at least one attempt, and more "
            f"than 0 seconds"
        )
