"""A folder of model versions and a pointer to the one that is served; it survives kill -9.

    registry/
      current               {"served": [1, 2, 4], "rolled_back": [3], ...}; the last one is served
      versions/0004/        a complete version; the name appears when the version is complete
      versions/.0005.*.partial  a version that a refresh prepares; the next one deletes leftovers
      rejected/0005.json    the facts of a version that the gate rejected
      refresh.lock          locked while a refresh runs; refresh.holder names the process
      pointer.lock          locked while `current` is read and replaced

`current` is replaced in one step, so that a reader sees the version before or the version after,
both complete. A process that is killed between the rename of a version and this step leaves a
complete version that is not served: the history lists it, and its number is not used again. Add
the number to `current` to serve it, or delete its folder. Complete versions and folders with other
names are never deleted by mindlib. The operating system releases the locks of a process that dies.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from mindlib.data.storage import atomic_file, atomic_folder, explained, read_object, sweep

FORMAT = "mindlib registry 2"
FACTS = "version.json"
POINTER_TIMEOUT = 10.0  # seconds; the pointer is locked while one version is flushed and renamed

State = Literal["current", "served before", "rolled back", "not served", "rejected"]


class RefreshInProgress(RuntimeError):
    """Another refresh is running; the message names its process."""


class ConcurrentUpdate(RuntimeError):
    """The current version changed while a new one was prepared."""


@dataclass(frozen=True)
class VersionRecord:
    """An entry of the registry's history; a number is never used twice."""

    number: int
    state: State
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Pointer:
    served: list[int] = field(default_factory=list)
    rolled_back: list[int] = field(default_factory=list)

    @property
    def current(self) -> int | None:
        return self.served[-1] if self.served else None

    @staticmethod
    def parse(content: dict[str, Any]) -> _Pointer:
        lists: list[Any] = [content.get(name) for name in ("served", "rolled_back")]
        if content.get("format") == FORMAT and all(isinstance(part, list) for part in lists):
            numbers = [number for part in lists for number in part]
            if all(type(n) is int and n > 0 for n in numbers) and len({*numbers}) == len(numbers):
                return _Pointer(*lists)
        raise ValueError(
            f"the file `current` is damaged: expected two lists of distinct numbers from 1, and "
            f"the format {FORMAT!r}"
        )


class Registry:
    """The versions in a folder, which is created if it does not exist.

    Raises:
        OSError: the folder cannot be created.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.versions, self.rejected = self.folder / "versions", self.folder / "rejected"
        with explained(self.folder, "the registry cannot be created", "; choose a writable folder"):
            self.versions.mkdir(parents=True, exist_ok=True)
            self.rejected.mkdir(exist_ok=True)

    def path(self, number: int) -> Path:
        """Return the folder of a version."""
        return self.versions / f"{number:04d}"

    def current(self) -> int | None:
        """Return the version to serve; None before the first.

        Raises:
            ValueError: the pointer is damaged, or missing although there are versions.
        """
        return self._read_pointer().current

    def reference(self) -> int | None:
        """Return the oldest complete version that was served and not rolled back, if any."""
        served = self._read_pointer().served
        return next((n for n in served if (self.path(n) / FACTS).is_file()), None)

    def history(self) -> list[VersionRecord]:
        """List all complete and all rejected versions, ordered by number."""
        pointer = self._read_pointer()
        complete = [n for n in _numbers(self.versions) if (self.path(n) / FACTS).is_file()]
        states: dict[int, State] = dict.fromkeys(complete, "not served")
        states |= dict.fromkeys(pointer.served[:-1], "served before")
        states |= dict.fromkeys(pointer.served[-1:], "current")
        states |= dict.fromkeys(pointer.rolled_back, "rolled back")
        paths = {number: self.path(number) / FACTS for number in states}
        for number in _numbers(self.rejected, ".json"):
            states[number], paths[number] = "rejected", self.rejected / f"{number:04d}.json"
        remedy = "; restore it from a copy, or write {} into it, which loses only these facts"
        return [VersionRecord(n, states[n], read_object(paths[n], remedy)) for n in sorted(states)]

    def rollback(self) -> int:
        """Serve the previous version again, and return its number.

        A refresh that is running will fail with `ConcurrentUpdate`.

        Raises:
            ValueError: there is no previous version.
        """
        with self._pointer_lock():
            pointer = self._read_pointer()
            if len(pointer.served) < 2:
                raise ValueError(
                    f"{self.folder} has served {pointer.served or 'no version'}: there is no "
                    f"previous version to roll back to; refresh instead"
                )
            *served, bad = pointer.served
            self._write_pointer(_Pointer(served, [*pointer.rolled_back, bad]))
        return served[-1]

    @contextmanager
    def refresh_lock(self) -> Iterator[None]:
        """Exclude other refreshes, and delete the leftovers of one that was killed.

        Raises:
            RefreshInProgress: another refresh is running.
        """
        holder = self.folder / "refresh.holder"
        lock = FileLock(self.folder / "refresh.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            owner: dict[str, Any] = {}
            with suppress(OSError):  # the other process has just started, or just ended
                owner = read_object(holder)
            raise RefreshInProgress(
                f"a refresh of {self.folder} is already running: process "
                f"{owner.get('process', '?')} on {owner.get('host', '?')}, since "
                f"{owner.get('since', 'just now')}; wait for its end, or stop that process"
            ) from None
        try:
            owner = {"process": os.getpid(), "host": socket.gethostname(), "since": utc_now()}
            _write(holder, owner)
            with self._pointer_lock():  # no other process writes now
                pointer = self._read_pointer()
                if not (self.folder / "current").exists():  # from now on, a missing one is a fault
                    self._write_pointer(pointer)
                for folder in (self.folder, self.versions, self.rejected):
                    sweep(folder, "*")
            yield
        finally:
            with suppress(OSError):
                holder.unlink()
            lock.release()

    @contextmanager
    def new_version(self) -> Iterator[tuple[int, Path, dict[str, Any]]]:
        """Yield a new number, a folder to prepare the version in, and its facts, to be filled.

        When the block ends without an error, the version becomes the current one; otherwise nothing
        of it remains.

        Raises:
            ConcurrentUpdate: the current version is another one than before the block.
        """
        pointer = self._read_pointer()
        base, facts = pointer.current, {}
        on_disk = _numbers(self.versions) + _numbers(self.rejected, ".json")
        number = 1 + max(pointer.served + pointer.rolled_back + on_disk, default=0)
        with ExitStack() as stack:
            with atomic_folder(self.path(number)) as folder:
                yield number, folder, facts
                _write(folder / FACTS, facts)
                stack.enter_context(self._pointer_lock())
                pointer = self._read_pointer()
                if pointer.current != base:
                    raise ConcurrentUpdate(
                        f"version {number} was made to follow version {base}, but the current "
                        f"version is {pointer.current} now (after a rollback?); the new version is "
                        f"not served: refresh again"
                    )
            self._write_pointer(_Pointer([*pointer.served, number], pointer.rolled_back))

    def reject(self, number: int, facts: dict[str, Any]) -> None:
        """Record a rejected version and the reasons."""
        _write(self.rejected / f"{number:04d}.json", facts)

    def _pointer_lock(self) -> FileLock:
        return FileLock(self.folder / "pointer.lock", timeout=POINTER_TIMEOUT)

    def _read_pointer(self) -> _Pointer:
        path, versions = self.folder / "current", _numbers(self.versions)
        rejected = _numbers(self.rejected, ".json")
        try:
            return _Pointer.parse(read_object(path))
        except FileNotFoundError:
            if not versions and not rejected:
                return _Pointer()
            fault = f"{path} is missing"
        except ValueError as error:
            fault = str(error)
        raise ValueError(
            f"{fault}, but there are the versions {versions} and the rejected numbers {rejected}; "
            f'write it again, with the version to serve as the last one of "served": '
            f'{{"format": "{FORMAT}", "served": {versions}, "rolled_back": []}}'
        )

    def _write_pointer(self, pointer: _Pointer) -> None:
        _write(self.folder / "current", {"format": FORMAT, **asdict(pointer)})


def utc_now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _numbers(folder: Path, suffix: str = "") -> list[int]:
    """Return the version numbers among the names in a folder, in order."""
    names = (path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}"))
    return sorted(int(name) for name in names if re.fullmatch(r"[0-9]{4}|[1-9][0-9]{4,}", name))


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
