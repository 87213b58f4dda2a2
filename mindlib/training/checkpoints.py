"""Checkpoint files of a training run, at most one per epoch and written atomically.

`epoch-00007.safetensors` contains the tensors after epoch 7 (see `mindlib.training.resume`). Its
header contains JSON with the identity of the run, the records of its epochs and the best epoch,
and a sha256 of the content, by which damage is detected. The newest checkpoint and that of the
best epoch are kept; a run can resume from either.

Only one training run at a time writes to a folder: it holds the lock of the file `lock`.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection
from pathlib import Path

from filelock import FileLock, Timeout

from mindlib.data.storage import PARTIAL, sweep
from mindlib.data.tensor_file import TensorFile, read_tensors, write_tensors

FORMAT = "mindlib checkpoint 2"
NAME = re.compile(r"epoch-(\d{5,})\.safetensors")


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
            probe = self.folder / f".probe{PARTIAL}"
            probe.touch()
            probe.unlink()
            self.lock.acquire(timeout=0)
            sweep(self.folder, "epoch-*")
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

    def read(self, epoch: int) -> TensorFile:
        """Read the checkpoint of an epoch and verify its content.

        Raises:
            ValueError: the file is missing, damaged, or not a checkpoint of this format.
        """
        earlier = [other for other in self.epochs() if other < epoch]
        start = f"after epoch {earlier[-1]}" if earlier else "from the beginning"
        try:
            return read_tensors(
                self.path(epoch), FORMAT, f"delete it, and training resumes {start}"
            )
        except FileNotFoundError as error:
            raise ValueError(
                f"{self.path(epoch)} is missing, but a later checkpoint refers to it as the best "
                f"epoch; restore the file, or empty the folder to train from the beginning"
            ) from error

    def write(self, epoch: int, content: TensorFile) -> None:
        """Write the checkpoint of an epoch.

        Raises:
            OSError: the file could not be written; earlier checkpoints are untouched.
        """
        write_tensors(self.path(epoch), FORMAT, content)

    def keep(self, epochs: Collection[int]) -> None:
        """Delete all checkpoints except those of `epochs`."""
        for epoch in self.epochs():
            if epoch not in epochs:
                self.path(epoch).unlink()
