"""Checkpoint files of a training run, at most one per epoch and written atomically.

`epoch-00007.safetensors` contains the tensors after epoch 7 (see `mindlib.training.resume`). Its
header contains JSON with the identity of the run, the records of its epochs and the best epoch,
and a sha256 of the content, by which damage is detected. The newest checkpoint and that of the
best epoch are kept; a run can resume from either.

Only one training run at a time writes to a folder: it holds the lock of the file `lock`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mindlib.data.storage import PARTIAL, atomic_file

FORMAT = 1
NAME = re.compile(r"epoch-(\d{5,})\.safetensors")


class Checkpoint(NamedTuple):
    """The state after an epoch: named tensors, and facts that can be written as JSON."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class Checkpoints:
    """A folder of checkpoints, at most one for each epoch."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.lock = FileLock(self.folder / "lock")

    def prepare(self) -> None:
        """Create and lock the folder, check that it is writable, and sweep interrupted writes.

        Raises:
            OSError: the folder cannot be created or written to, or another training run holds its
                lock; the message names it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f".probe{PARTIAL}").touch()
            self.lock.acquire(timeout=0)
            for partial in self.folder.glob(f".*{PARTIAL}"):
                partial.unlink()
        except Timeout as error:
            raise BlockingIOError(
                errno.EAGAIN,
                "another training run is writing its checkpoints to this folder; wait until it "
                "ends, or pass another folder as checkpoints",
                str(self.folder),
            ) from error
        except OSError as error:
            raise type(error)(
                error.errno,
                f"no checkpoint can be written to this folder ({error.strerror}); pass "
                f"a writable folder as checkpoints",
                str(self.folder),
            ) from error

    def path(self, epoch: int) -> Path:
        """Return the path of the checkpoint of an epoch."""
        return self.folder / f"epoch-{epoch:05d}.safetensors"

    def epochs(self) -> list[int]:
        """Return the epochs that have a checkpoint, in order."""
        if not self.folder.is_dir():
            return []
        matches = (NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def read(self, epoch: int) -> Checkpoint:
        """Read the checkpoint of an epoch and verify its content.

        Raises:
            ValueError: the file is missing, damaged, or not a checkpoint of this format.
        """
        path = self.path(epoch)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError as error:
            raise ValueError(
                f"{path} is missing, but a later checkpoint refers to it as the best epoch; "
                f"restore the file, or empty the folder to train from the beginning"
            ) from error
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} cannot be read ({error}); {self._remedy(epoch)}") from error
        if set(metadata) != {"facts", "sha256"}:
            raise ValueError(
                f"{path} is not a checkpoint of mindlib: its header has {sorted(metadata)}, "
                f"expected facts and sha256; pass another folder as checkpoints"
            )
        digest = content_digest(metadata["facts"], tensors)
        if digest != metadata["sha256"]:
            raise ValueError(
                f"{path} is damaged: the sha256 of its content is {digest[:12]}…, expected "
                f"{metadata['sha256'][:12]}…; {self._remedy(epoch)}"
            )
        facts = json.loads(metadata["facts"])
        if facts["format"] != FORMAT:
            raise ValueError(
                f"{path} has the format {facts['format']}, expected {FORMAT}; read it with the "
                f"version of mindlib that wrote it, or pass another folder as checkpoints"
            )
        return Checkpoint(tensors, facts)

    def write(self, epoch: int, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of an epoch.

        Raises:
            OSError: the file could not be written; earlier checkpoints are untouched.
        """
        facts = json.dumps({"format": FORMAT} | checkpoint.facts)
        tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
        metadata = {"facts": facts, "sha256": content_digest(facts, tensors)}
        try:
            with atomic_file(self.path(epoch)) as partial:
                save_file(tensors, partial, metadata)
        except (OSError, SafetensorError) as error:
            epochs = self.epochs()
            before = (
                f"that of epoch {epochs[-1]} is untouched" if epochs else "there is no earlier one"
            )
            raise OSError(
                f"the checkpoint of epoch {epoch} could not be written to {self.folder} ({error}); "
                f"{before}; free disk space there and call fit again"
            ) from error

    def keep(self, epochs: Collection[int]) -> None:
        """Delete all checkpoints except those of `epochs`."""
        for epoch in self.epochs():
            if epoch not in epochs:
                self.path(epoch).unlink()

    def _remedy(self, epoch: int) -> str:
        earlier = [other for other in self.epochs() if other < epoch]
        start = f"after epoch {earlier[-1]}" if earlier else "from the beginning"
        return f"delete it, and training resumes {start}"


def content_digest(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """Compute the sha256 of a checkpoint's tensors and facts."""
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        digest.update(f"\0{name}\0{tensors[name].dtype}".encode())
        update_digest(digest, [tensors[name].numpy()])
    return digest.hexdigest()


def update_digest(digest: Any, arrays: Iterable[np.ndarray]) -> None:
    """Add the shapes and bytes of arrays to a hash object of `hashlib`."""
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
