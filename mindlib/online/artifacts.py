"""Folders that a server reads (exports and bundles): written whole, and checked when loaded.

`manifest.json` has the format, the version of mindlib and a checksum of every part and of itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from mindlib.data.storage import atomic_folder, checksum, digest_of, explained, read_object

MANIFEST = "manifest.json"
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


class ArtifactError(ValueError):
    """A folder cannot be served. The message names the part, the defect and the remedy."""


class ArtifactFormat(NamedTuple):
    """A kind of folder.

    Attributes:
        name: "export" or "bundle".
        number: the version of the format, raised when older readers would fail.
        writer: the function that writes it.
    """

    name: str
    number: int
    writer: str

    def __str__(self) -> str:
        return f"mindlib {self.name} {self.number}"

    @property
    def remedy(self) -> str:
        """The end of each message."""
        return f"copy the folder again, or write it again with {self.writer}"


@contextmanager
def new_folder(path: Path, form: ArtifactFormat) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error.

    Raises:
        FileExistsError: `path` exists.
        OSError: the folder cannot be written; nothing remains of it.
    """
    if path.exists():
        raise FileExistsError(
            f"{path} exists; {form.name}s are never overwritten, because a server may be reading "
            f"them: choose another name"
        )
    remedy = ", and nothing of it remains; choose a folder with room that you may write to"
    fault = f"the {form.name} cannot be written"
    with explained(path, fault, remedy), atomic_folder(path) as folder:
        yield folder


def write_manifest(
    folder: Path, form: ArtifactFormat, parts: Iterable[str], facts: Mapping[str, Any]
) -> None:
    """Write the manifest of a folder whose parts exist."""
    manifest = {
        "format": str(form),
        "mindlib": version("mindlib"),
        **facts,
        "files": {name: checksum(folder / name) for name in parts},
    }
    text = json.dumps(seal(manifest), indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with the checksum of its other entries, by which damage is detected."""
    content = {name: value for name, value in manifest.items() if name != "sha256"}
    return content | {"sha256": digest_of(content)}


def read_manifest(folder: Path, form: ArtifactFormat) -> dict[str, Any]:
    """Read the manifest of a folder, and compare every byte of its parts with the checksums.

    Raises:
        ArtifactError: the folder cannot be served.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(
            f"{folder} lacks {MANIFEST}; expected a folder that {form.writer} wrote"
        )
    try:
        manifest = read_object(path, f": {form.remedy}")
    except ValueError as error:
        raise ArtifactError(str(error)) from error
    if "format" in manifest and manifest["format"] != str(form):
        raise ArtifactError(
            f"{folder} has the format {manifest['format']!r:.80}, this mindlib reads "
            f"{str(form)!r}: write it again with mindlib {version('mindlib')}, or serve it with "
            f"mindlib {manifest.get('mindlib')!s:.80}"
        )
    if seal(manifest) != manifest:
        raise ArtifactError(f"{path} is damaged (its sha256 is another one): {form.remedy}")
    for name, expected in manifest["files"].items():
        if not PART.fullmatch(name):
            raise ArtifactError(
                f"{path} names the part {name!r:.80}: expected letters, digits, dots and dashes, "
                f"and a file in the folder: {form.remedy}"
            )
        part = folder / name
        if not part.is_file():
            raise ArtifactError(f"{part} is missing: {form.remedy}")
        if (found := checksum(part)) != expected:
            raise ArtifactError(
                f"{part} is damaged or of another version ({found['bytes']} bytes, sha256 "
                f"{found['sha256'][:12]}…; expected {expected!s:.120}): {form.remedy}"
            )
    return manifest
