"""Checkpoints of a training run, from which it resumes exactly.

`epoch-00007.safetensors` contains the tensors after epoch 7: the weights, the state of the
optimizers and of the generator, and the best weights so far. Its header contains JSON with the
identity of the run, the records of its epochs and the best epoch, and a sha256 of the content, by
which damage is detected. Each file is written atomically, and the two newest are kept. A run
resumes from the newest; without it, from the other.

Only one training run at a time writes to a folder: it holds the lock of the file `lock`.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from mindlib.data.splits import Split
from mindlib.data.storage import explained, sweep
from mindlib.data.tensor_file import TensorFile, read_tensors, write_tensors
from mindlib.models.vector_model import VectorModel
from mindlib.training.config import TrainingConfig
from mindlib.training.distributed import Workers
from mindlib.training.epochs import EpochRecord, TrainingState

FORMAT = "mindlib checkpoint 4"


class Checkpoints:
    """A folder of checkpoints, at most one for each epoch."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.lock = FileLock(self.folder / "lock")

    def prepare(self) -> None:
        """Create and lock the folder, check that it is writable, and sweep interrupted writes."""
        what = "no checkpoint can be written to this folder"
        try:
            with explained(self.folder, what, "; pass a writable folder as checkpoints"):
                self.folder.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=self.folder).close()
                self.lock.acquire(timeout=0)
                sweep(self.folder, "epoch-*")
        except Timeout as error:
            raise BlockingIOError(
                errno.EAGAIN,
                "another training run is writing its checkpoints to this folder; wait until it "
                "ends, or pass another folder as checkpoints",
                str(self.folder),
            ) from error

    def path(self, epoch: int) -> Path:
        """Return the path of the checkpoint of an epoch."""
        return self.folder / f"epoch-{epoch:05d}.safetensors"

    def epochs(self) -> list[int]:
        """Return the epochs that have a checkpoint, in order."""
        names = (file.stem for file in self.folder.glob("epoch-*.safetensors"))
        return sorted(int(name[6:]) for name in names if name[6:].isdecimal())

    def read(self, epoch: int) -> TensorFile:
        """Read the checkpoint of an epoch; errors as of `read_tensors`."""
        earlier = [other for other in self.epochs() if other < epoch]
        start = f"after epoch {earlier[-1]}" if earlier else "from the beginning"
        return read_tensors(self.path(epoch), FORMAT, f"delete it, and training resumes {start}")

    def write(self, epoch: int, content: TensorFile) -> None:
        """Write the checkpoint of an epoch (see `write_tensors`), and keep the two newest only."""
        write_tensors(self.path(epoch), FORMAT, content)
        for older in self.epochs()[:-2]:
            self.path(older).unlink()


def save_state(folder: Checkpoints, identity: dict[str, Any], state: TrainingState) -> None:
    """Write a checkpoint of the last epoch."""
    weights = {"model": state.model.state_dict()}
    if state.best_epoch != len(state.log):
        weights["best"] = state.best_weights
    tensors = {f"{kind}.{n}": t for kind, named in weights.items() for n, t in named.items()}
    for number, optimizer in enumerate(state.optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimizer.{number}.{index}.{key}"] = value
    tensors["generator"] = state.generator.get_state()
    log = [dataclasses.asdict(record) for record in state.log]
    facts = {"run": identity, "best_epoch": state.best_epoch, "log": log}
    folder.write(len(log), TensorFile(tensors, facts))


def resume(
    folder: Checkpoints, identity: dict[str, Any], state: TrainingState, epochs: int, on: Workers
) -> None:
    """Create and lock the folder, and load its newest checkpoint, if there is one, into `state`."""

    def newest() -> TensorFile | None:
        folder.prepare()
        if not (written := folder.epochs()):
            return None
        checkpoint, path = folder.read(written[-1]), folder.path(written[-1])
        check_compatible(checkpoint.facts["run"], identity, path)
        if (trained := len(checkpoint.facts["log"])) > epochs:
            raise ValueError(
                f"epochs={epochs}: {path} has been trained for more epochs; pass epochs={trained} "
                f"or more, or another folder as checkpoints"
            )
        return checkpoint

    if not (checkpoint := on.run_on_rank_zero(newest)):
        return
    tensors, facts = checkpoint
    try:
        state.model.load_state_dict(_below(tensors, "model."))
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint in {folder.folder} has other weights ({error}); build the model as it "
            f"was built for the checkpoint, or pass another folder as checkpoints"
        ) from error
    device = next(state.model.parameters()).device
    for number, optimizer in enumerate(state.optimizers):
        values: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, f"optimizer.{number}.").items():
            index, key = name.split(".")
            values.setdefault(int(index), {})[key] = value.to(device)
        # The parameter groups are not in the checkpoint; they follow from the configuration.
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": values, "param_groups": groups})
    state.generator.set_state(tensors["generator"])
    state.log += [EpochRecord(**record) for record in facts["log"]]
    state.best_epoch = facts["best_epoch"]
    state.best_weights = _below(tensors, "best.") or _below(tensors, "model.")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def run_identity(
    model: VectorModel, split: Split, config: TrainingConfig, workers: Workers
) -> dict[str, Any]:
    """Collect all settings and data that determine the weights after an epoch.

    The initial weights are left out. So is the number of epochs if the steps do not depend on it,
    so that a run can be prolonged.
    """
    identity = {
        "model": type(model).__name__,
        **_fields("model", model.config),
        "data": split.digest,
        **_fields("training", config),
        "device": model.items.weight.device.type,
        "processes": workers.size,
    }
    epochs = identity.pop("training.epochs")
    if config.schedule != "constant":
        identity["training.epochs"] = epochs
    return json.loads(json.dumps(identity))  # tuples become lists, as in the file


def check_compatible(theirs: Mapping[str, Any], ours: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError with the first difference between two identities, if they differ."""
    for name in [*ours, *theirs]:
        if theirs.get(name) == ours.get(name):
            continue
        difference = f"with {name}={theirs.get(name)!r}, not {ours.get(name)!r}"
        if name == "data":
            difference = "on other data (another log, item features, profiles or split)"
        raise ValueError(
            f"{path} was trained {difference}, so this run cannot resume from it; use the settings "
            f"and data of the checkpoint, or pass another folder as checkpoints"
        )


def _fields(name: str, value: Any) -> dict[str, Any]:
    """Collect the fields of a dataclass, and those of nested dataclasses, by dotted name."""
    if not dataclasses.is_dataclass(value):
        return {name: value}
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        fields |= _fields(f"{name}.{field.name}", getattr(value, field.name))
    return fields
