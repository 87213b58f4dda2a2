"""The versions that were made, and which of them is served: a folder that survives a kill.

    registry/
      current              {"served": [1, 2, 4], "rolled_back": [3], ...}: the last of served is it
      versions/0004/       a whole version; it appears under this name or not at all
      rejected/0003.json    why a version never was one
      refresh.lock         held while a refresh runs, with refresh.holder beside it
      pointer.lock         held for the moment in which `current` is read and replaced

`current` is one file, replaced in one step: whoever reads it sees the version before or the
version after, and each is whole. The locks are the operating system's, which lets go of them when
a process dies, however it dies: a file that is left behind holds nobody up.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

FORMAT = "mindlib registry 2"
NAME = re.compile(r"(\d{4,})")
FACTS = "version.json"
# A pointer is held for the time of a read and a rename; who waits longer than this waits for a
# machine that hangs.
POINTER_SECONDS = 10.0

State = Literal["current", "served before", "rolled back", "rejected"]


class RefreshInProgress(RuntimeError):
    """Another refresh is running; the message says which."""


class ConcurrentUpdate(RuntimeError):
    """Another version became the current one while this one was made."""


@dataclass(frozen=True)
class VersionRecord:
    """One version, in the history.

    Attributes:
        number: from 1; never given twice.
        state: what has become of it.
        facts: what the refresh wrote about it: when, of which day, from where, its figures.
    """

    number: int
    state: State
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Pointer:
    served: list[int] = field(default_factory=list)
    rolled_back: list[int] = field(default_factory=list)


class Registry:
    """The versions in a folder.

    Args:
        folder: made, if it is not there.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.versions, self.rejected = self.folder / "versions", self.folder / "rejected"
        try:
            for place in (self.versions, self.rejected):
                place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"no registry can be made here ({error.strerror}); choose a folder that you may "
                f"write to",
                str(self.folder),
            ) from error

    def path(self, number: int) -> Path:
        """The folder of a version."""
        return self.versions / f"{number:04d}"

    def current(self) -> int | None:
        """The version that is to be served; None before the first.

        Raises:
            ValueError: the pointer is damaged.
        """
        served = self._pointer().served
        return served[-1] if served else None

    def history(self) -> list[VersionRecord]:
        """Every version that was served or refused, the first one first."""
        pointer = self._pointer()
        states: dict[int, State] = dict.fromkeys(pointer.served, "served before")
        states |= dict.fromkeys(pointer.rolled_back, "rolled back")
        if pointer.served:
            states[pointer.served[-1]] = "current"
        found = [
            VersionRecord(n, state, _read(self.path(n) / FACTS)) for n, state in states.items()
        ]
        for path in self.rejected.glob("*.json"):
            found.append(VersionRecord(int(path.stem), "rejected", _read(path)))
        return sorted(found, key=lambda record: record.number)

    def rollback(self) -> int:
        """Serve the version before the current one again; which one that is.

        It does not wait for a refresh that runs. That one will not put its version in front: it
        began with what has just been taken back (see `promote`).

        Raises:
            ValueError: there is no version before.
        """
        with self._pointing():
            pointer = self._pointer()
            if len(pointer.served) < 2:
                raise ValueError(
                    f"{self.folder} has served {pointer.served or 'no version'}: there is none "
                    f"before it to go back to; refresh instead"
                )
            *before, bad = pointer.served
            self._point(_Pointer(before, [*pointer.rolled_back, bad]))
        return before[-1]

    @contextmanager
    def refresh_lock(self) -> Iterator[None]:
        """While a refresh runs, no second one may; what a killed one left is swept away first.

        Raises:
            RefreshInProgress: another one runs; the message names its process.
        """
        holder = self.folder / "refresh.holder"
        try:
            lock = FileLock(self.folder / "refresh.lock", timeout=0)
            lock.acquire()
        except Timeout:
            who: dict[str, Any] = {}
            with suppress(OSError):  # it has not said so yet, or has just ended
                who = _read(holder)
            raise RefreshInProgress(
                f"a refresh of {self.folder} is running already: process {who.get('process', '?')} "
                f"on {who.get('host', '?')}, since {who.get('since', 'just now')}; wait for its "
                f"end, or stop that process"
            ) from None
        try:
            me = {"process": os.getpid(), "host": socket.gethostname(), "since": utc_now()}
            _write(holder, me)
            self._sweep()
            yield
        finally:
            with suppress(OSError):
                holder.unlink()
            lock.release()

    @contextmanager
    def staging_dir(self) -> Iterator[tuple[int, Path]]:
        """A new number, and a folder to make its version in, which is gone afterwards."""
        taken = [*self._pointer().served, *self._pointer().rolled_back]
        taken += [int(path.stem) for path in self.rejected.glob("*.json")]
        number = 1 + max(taken, default=0)
        folder = self.versions / f".{number:04d}.partial"
        folder.mkdir()
        try:
            yield number, folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def promote(self, number: int, folder: Path, facts: dict[str, Any], before: int | None) -> None:
        """Make the version that was built in `folder` the current one.

        Args:
            facts: for the history; JSON can hold them.
            before: the current version when the refresh began.

        Raises:
            ConcurrentUpdate: it is another one now; nothing is changed.
        """
        _write(folder / FACTS, facts)
        for path in (*folder.rglob("*"), folder):
            _to_disk(path)
        with self._pointing():
            pointer = self._pointer()
            current = pointer.served[-1] if pointer.served else None
            if current != before:
                raise ConcurrentUpdate(
                    f"version {number:04d} was made to follow {_name(before)}, and the current one "
                    f"is {_name(current)} by now (a rollback?); it is not served: refresh again"
                )
            folder.rename(self.path(number))
            _to_disk(self.versions)
            self._point(_Pointer([*pointer.served, number], pointer.rolled_back))

    def reject(self, number: int, facts: dict[str, Any]) -> None:
        """Remember why a version is none."""
        _write(self.rejected / f"{number:04d}.json", facts)

    def _sweep(self) -> None:
        """Delete what a killed refresh left: half a version, or a whole one never served."""
        with self._pointing():  # nobody else is writing now
            pointer = self._pointer()
            known = {*pointer.served, *pointer.rolled_back}
            for path in self.versions.iterdir():
                if not (NAME.fullmatch(path.name) and int(path.name) in known):
                    shutil.rmtree(path, ignore_errors=True)
            for folder in (self.folder, self.rejected):
                for path in folder.glob(".*.part"):
                    path.unlink(missing_ok=True)

    @contextmanager
    def _pointing(self) -> Iterator[None]:
        with FileLock(self.folder / "pointer.lock", timeout=POINTER_SECONDS):
            yield

    def _pointer(self) -> _Pointer:
        path = self.folder / "current"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"the format is {content['format']!r}, expected {FORMAT!r}")
            return _Pointer(content["served"], content["rolled_back"])
        except FileNotFoundError:
            return _Pointer()
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} cannot be read ({error}); write the number of the version to serve into "
                f'it: {{"format": "{FORMAT}", "served": [NUMBER], "rolled_back": []}}'
            ) from error

    def _point(self, pointer: _Pointer) -> None:
        _write(self.folder / "current", {"format": FORMAT, **vars(pointer)})


def utc_now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _name(number: int | None) -> str:
    return "none" if number is None else f"{number:04d}"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file in one step."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _to_disk(part)
        os.replace(part, path)
        _to_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
