"""Write the state of a training run to checkpoints, and resume the run from them exactly."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mindlib.data.interactions import Interactions
from mindlib.data.splits import Split
from mindlib.data.tensor_file import TensorFile
from mindlib.models.vector_model import VectorModel
from mindlib.training.checkpoints import Checkpoints
from mindlib.training.config import TrainingConfig
from mindlib.training.distributed import Workers
from mindlib.training.epochs import EpochRecord, TrainingState


class ResumableRun:
    """A training run whose state after each epoch is written to a folder.

    The end of a `with` block releases the lock of the folder, which `resume` takes.

    Args:
        folder: the folder of the checkpoints.
        identity: the settings and data that determine the weights, see `run_identity`.
        state: the state of the run, which `save` writes and `resume` loads in place.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any], state: TrainingState) -> None:
        self.folder, self.identity, self.state = Checkpoints(folder), identity, state

    def __enter__(self) -> ResumableRun:
        return self

    def __exit__(self, *exception: object) -> None:
        self.folder.lock.release()

    def save(self) -> None:
        """Write a checkpoint of the last epoch, and delete all others except the best epoch's."""
        epoch, best_epoch = len(self.state.log), self.state.best_epoch
        log = [dataclasses.asdict(record) for record in self.state.log]
        facts = {"run": self.identity, "best_epoch": best_epoch, "log": log}
        self.folder.write(epoch, TensorFile(pack(self.state), facts))
        self.folder.keep({epoch, best_epoch})

    def resume(self, epochs: int, workers: Workers) -> None:
        """Create and lock the folder, and load its newest checkpoint if there is one.

        Raises:
            OSError: the folder cannot be created or written to, or another run is using it.
            ValueError: a checkpoint is damaged, belongs to another run, or is from an epoch after
                `epochs`.
        """
        workers.run_on_rank_zero(self.folder.prepare)
        epoch = max(workers.run_on_rank_zero(self.folder.epochs), default=0)
        if not epoch:
            return

        def newest() -> TensorFile:
            checkpoint = self._read(epoch)
            if epoch > epochs:
                raise ValueError(
                    f"epochs={epochs}: {self.folder.path(epoch)} has been trained for more "
                    f"epochs; pass epochs={epoch} or more, or another folder as checkpoints"
                )
            return checkpoint

        device = self.state.generator.device
        tensors, facts = workers.broadcast(newest, device)
        unpack(tensors, self.state)
        self.state.log += [EpochRecord(**record) for record in facts["log"]]
        best_epoch = self.state.best_epoch = facts["best_epoch"]
        if best_epoch not in (0, epoch):
            log = facts["log"][:best_epoch]
            tensors, _ = workers.broadcast(lambda: self._read(best_epoch, log), device)
            check_shapes(tensors, self.state)
        self.state.best_weights = _below(tensors, "model.")

    def _read(self, epoch: int, log: list[dict[str, Any]] | None = None) -> TensorFile:
        """Read the checkpoint of an epoch of this run; `log` has its records if they are known."""
        checkpoint, path = self.folder.read(epoch), self.folder.path(epoch)
        check_compatible(checkpoint.facts["run"], self.identity, path)
        records = checkpoint.facts["log"]
        if len(records) != epoch or records != (log or records):
            raise ValueError(
                f"{path} is the checkpoint of another run or epoch: its records of {len(records)} "
                f"epochs differ from those of this run; restore the file, or pass another folder "
                f"as checkpoints"
            )
        return checkpoint


def pack(state: TrainingState) -> dict[str, Tensor]:
    """Collect all tensors that determine the next step, by name."""
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    for number, optimizer in enumerate(state.optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimizer.{number}.{index}.{key}"] = value
    return tensors | {"generator": state.generator.get_state()}


def unpack(tensors: Mapping[str, Tensor], state: TrainingState) -> None:
    """Load the tensors that `pack` collected into a training state, in place.

    Raises:
        ValueError: as `check_shapes`.
    """
    check_shapes(tensors, state)
    state.model.load_state_dict(_below(tensors, "model."))
    for number, optimizer in enumerate(state.optimizers):
        values: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, f"optimizer.{number}.").items():
            index, key = name.split(".")
            values.setdefault(int(index), {})[key] = value
        # The parameter groups are not in the checkpoint; they follow from the configuration.
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": values, "param_groups": groups})
    state.generator.set_state(tensors["generator"].cpu())


def check_shapes(tensors: Mapping[str, Tensor], state: TrainingState) -> None:
    """Check that the tensors of a checkpoint fit the model and its optimizers.

    Raises:
        ValueError: a name or shape differs; the message names the first one.
    """
    theirs = {name: tuple(value.shape) for name, value in tensors.items()}
    ours = {f"model.{name}": tuple(t.shape) for name, t in state.model.state_dict().items()}
    ours["generator"] = tuple(state.generator.get_state().shape)
    for number, optimizer in enumerate(state.optimizers):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for index, parameter in enumerate(parameters):
            moments = {"step": (), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
            for key, shape in moments.items():
                ours[f"optimizer.{number}.{index}.{key}"] = tuple(shape)
    # A parameter without a gradient has no moments.
    for name in sorted(theirs.keys() | {n for n in ours if not n.startswith("optimizer.")}):
        if theirs.get(name) != ours.get(name):
            raise ValueError(
                f"in the checkpoint {name} has the shape {theirs.get(name, 'None')}, in this run "
                f"{ours.get(name, 'None')}; build the model as it was built for the checkpoint, or "
                f"pass another folder as checkpoints"
            )


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
        **_fields("model", getattr(model, "config", None)),
        "catalogue": _digest_catalogue(split.log),
        "cases": _digest_cases(split),
        **_fields("training", config),
        "device": model.items.weight.device.type,
        "processes": workers.size,
    }
    epochs = identity.pop("training.epochs")
    if config.schedule != "constant":
        identity["training.epochs"] = epochs
    return json.loads(json.dumps(identity))  # tuples become lists, as in the file


def check_compatible(theirs: Mapping[str, Any], ours: Mapping[str, Any], path: Path) -> None:
    """Check that a checkpoint was written by the same run, by comparing the two identities.

    Raises:
        ValueError: the identities differ; the message names the first difference.
    """
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if theirs.get(name) == ours.get(name):
            continue
        if name == "catalogue":
            difference = "on another catalogue (item ids, features or profile fields)"
        elif name == "cases":
            difference = "on other cases (another log, split or popularity)"
        else:
            difference = f"with {name}={theirs.get(name)!r}, not {ours.get(name)!r}"
        raise ValueError(
            f"{path} was trained {difference}, so this run cannot resume from it; use the settings "
            f"and data of the checkpoint, or pass another folder as checkpoints"
        )


def _fields(prefix: str, config: Any) -> dict[str, Any]:
    """Collect the fields of a dataclass, and those of nested dataclasses, by dotted name."""
    if not dataclasses.is_dataclass(config):
        return {}
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        name, value = f"{prefix}.{field.name}", getattr(config, field.name)
        fields |= _fields(name, value) if dataclasses.is_dataclass(value) else {name: value}
    return fields


def _digest_catalogue(log: Interactions) -> str:
    digest = hashlib.sha256()
    for item in log.item_ids[1:]:
        digest.update(f"{item}\0".encode())
    if log.item_features:
        digest.update(repr((log.item_features.fields, log.item_features.vocabularies)).encode())
        _update(digest, [log.item_features.codes])
    if log.profiles:
        digest.update(repr((log.profiles.fields, log.profiles.vocabularies)).encode())
    return digest.hexdigest()


def _digest_cases(split: Split) -> str:
    """Compute the sha256 of the cases and item counts that training and validation use."""
    digest = hashlib.sha256()
    cases, log = split.validation, split.train[:0].histories
    tensors = [*vars(cases.histories).values(), cases.targets, cases.offsets, log.items]
    _update(digest, [tensor.numpy() for tensor in (*tensors, log.profiles)])
    _update(digest, [split.log.offsets, split.train.first.words, split.train.last.words])
    _update(digest, [split.train_counts])
    return digest.hexdigest()


def _update(digest: Any, arrays: Iterable[np.ndarray]) -> None:
    """Add the shapes and bytes of arrays to a hash object of `hashlib`."""
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
