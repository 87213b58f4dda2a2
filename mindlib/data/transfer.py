"""One file on its way over HTTP: a part that grows, connection by connection."""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import shutil
import ssl
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path

from tqdm.auto import tqdm

CHUNK = 1 << 20
BUSY = (408, 429, 500, 502, 503, 504)
FULL = (errno.ENOSPC, errno.EDQUOT)


class Interrupted(Exception):
    """A connection ended early, for a reason that may pass."""


@dataclass(frozen=True)
class Note:
    """What is known of the file of which a part is here; it lies beside the part.

    Attributes:
        url: where it comes from.
        total: its length in bytes, if the server says it.
        validator: its ETag, or else its date, by which a server recognises the same file.
    """

    url: str
    total: int | None = None
    validator: str | None = None


@dataclass(frozen=True)
class Transfer:
    """A file that is wanted at `target`, and the part of it that is there.

    Attributes:
        url, target: from where, and to where.
        sha256, size: what is known of it beforehand.
        timeout: seconds without an answer after which a connection counts as cut.
        progress: show a bar.
    """

    url: str
    target: Path
    sha256: str | None
    size: int | None
    timeout: float | int
    progress: bool

    @property
    def part(self) -> Path:
        """What has come so far."""
        return beside(self.target, ".part")

    @property
    def done(self) -> int:
        """How many bytes have come."""
        return self.part.stat().st_size if self.part.is_file() else 0

    @property
    def note(self) -> Note:
        """What is known of the file of which `part` is one."""
        try:
            values = json.loads(beside(self.part, ".json").read_text(encoding="utf-8"))
            return Note(**values)
        except (FileNotFoundError, ValueError, TypeError):
            return Note("")

    def discard(self) -> None:
        """Remove the part and its note."""
        self.part.unlink(missing_ok=True)
        beside(self.part, ".json").unlink(missing_ok=True)

    def discard_foreign(self) -> None:
        """Remove a part of another file, or one to which nothing would fit the rest for certain."""
        note = self.note
        if note.url != self.url or not (note.validator or self.sha256):
            self.discard()

    def receive(self) -> None:
        """One connection, from where the part ends to the end of the file.

        Raises:
            Interrupted: it was cut, or the server is busy, or has another file by now.
            RuntimeError: the server refuses.
            ValueError: the file has another length than `size`.
            OSError: the disk has too little space, or the folder cannot be written.
        """
        self.discard_foreign()
        note, start = self.note, self.done
        if start and start == note.total:
            return
        headers = {"User-Agent": "mindlib", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            headers |= {"If-Range": note.validator} if note.validator else {}
        request = urllib.request.Request(self.url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                self._store(response, note if start else Note(""), start)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        except (
            http.client.HTTPException,
            urllib.error.URLError,
            ssl.SSLError,
            ConnectionError,
            TimeoutError,
        ) as error:
            raise Interrupted(str(getattr(error, "reason", error)) or repr(error)) from error

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        if error.code == 416:  # the file has become shorter than the part
            self.discard()
        if error.code in (*BUSY, 416):
            return Interrupted(f"the server answers {error.code} {error.reason}")
        return RuntimeError(
            f"{self.url}: the server answers {error.code} {error.reason}; check the address in a "
            f"browser, and whether it asks for an account: then fetch the file by hand and put "
            f"it at {self.target}"
        )

    def _store(self, response: http.client.HTTPResponse, note: Note, start: int) -> None:
        validator = _validator(response.headers)
        if response.status == 206:
            first, total = _range(response.headers)
            # Not every server heeds If-Range.
            same_file = validator in (None, note.validator) or note.validator is None
            if first != start or not same_file or (total and note.total not in (None, total)):
                self.discard()
                raise Interrupted("the server goes on with another file than it began with")
            validator, total = validator or note.validator, total or note.total
        else:
            start = 0  # it knows no Range, or has a new file
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
        self._check(response, total)
        total = self.size if total is None else total
        self._require_space(total, start)
        write(beside(self.part, ".json"), json.dumps(asdict(Note(self.url, total, validator))))
        try:
            self._append(response, total, start)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise OSError(
                error.errno,
                f"the disk is full after {self.done:,} bytes of {self.url}; make room and call "
                f"again: the download goes on from there",
                str(self.target.parent),
            ) from error
        if total is not None and self.done < total:
            raise Interrupted(f"the connection ended after {self.done:,} of {total:,} bytes")
        if response.chunked:  # the end of such a body is marked: it was all
            note = Note(self.url, self.done, validator)
            write(beside(self.part, ".json"), json.dumps(asdict(note)))

    def _append(self, response: http.client.HTTPResponse, total: int | None, start: int) -> None:
        with (
            self.part.open("ab" if start else "wb") as file,
            tqdm(
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                desc=self.target.name,
                disable=not self.progress,
                leave=False,
            ) as bar,
        ):
            while data := response.read(CHUNK):
                file.write(data)
                bar.update(len(data))

    def _check(self, response: http.client.HTTPResponse, total: int | None) -> None:
        if total is not None and self.size is not None and total != self.size:
            self.discard()
            raise ValueError(
                f"{self.url}: the server promises {total:,} bytes, expected {self.size:,}; the "
                f"file there has changed, or the address or the size is wrong"
            )
        coding = response.headers.get("Content-Encoding", "identity")
        if coding != "identity" and self.target.suffix != ".gz":
            raise ValueError(
                f"{self.url}: the server sends the file compressed ({coding}), though it was "
                f"asked not to; fetch it in a browser and put it at {self.target}"
            )

    def _require_space(self, total: int | None, start: int) -> None:
        free = shutil.disk_usage(self.target.parent).free
        free += 0 if start else self.done  # a part that is written anew makes room
        if total is not None and total - start > free:
            raise OSError(
                errno.ENOSPC,
                f"{self.url} needs {total - start:,} more bytes, and {free:,} are free; make "
                f"room, or choose a path on another disk",
                str(self.target.parent),
            )


def beside(path: Path, suffix: str) -> Path:
    """The file of the same name with `suffix` after it."""
    return path.with_name(path.name + suffix)


def write(path: Path, text: str) -> None:
    """Text under its name, whole or not at all."""
    new = beside(path, ".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def _validator(headers: Message) -> str | None:
    """What If-Range takes: a strong ETag, or else the date."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _range(headers: Message) -> tuple[int | None, int | None]:
    """The first byte that is sent, and the length of the file, as far as they are said."""
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])
