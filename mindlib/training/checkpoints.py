"""A folder of checkpoints, from which training goes on as if it had never been interrupted.

One file an epoch, `epoch-00007.safetensors`: the tensors (weights, the optimisers' moments and
step counts, the generator's state) and, as JSON in its header, the rest (what is being trained, the
metrics so far, the best epoch). It is written beside its final name and then renamed, so that a
file which bears such a name is whole; its sha256 tells if it was damaged later. The newest file and
that of the best epoch are kept. Each is enough to go on from.

One training at a time may write into a folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mindlib.data.interactions import Interactions
from mindlib.data.splits import Cases, Split

FORMAT = 1
NAME = re.compile(r"epoch-(\d{5,})\.safetensors")
# Where a file is until it is whole; what an interrupted training left there is swept away.
STAGING = ".writing"


class Checkpoint(NamedTuple):
    """The state of training after an epoch: tensors by name, and what JSON can hold."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints in a folder, by epoch."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    def prepare(self) -> None:
        """Make the folder, and try to write to it.

        Raises:
            OSError: that is not possible; the message names the folder.
        """
        staging = self.folder / STAGING
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            staging.rmdir()
        except OSError as error:
            raise type(error)(
                error.errno,
                f"no checkpoint can be written to this folder ({error.strerror}); pass "
                f"checkpoints= a folder that can be made and written to",
                str(self.folder),
            ) from error

    def path(self, epoch: int) -> Path:
        """Where the checkpoint of an epoch is."""
        return self.folder / f"epoch-{epoch:05d}.safetensors"

    def epochs(self) -> list[int]:
        """The epochs of which there is a checkpoint, in order."""
        if not self.folder.is_dir():
            return []
        found = (NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def read(self, epoch: int) -> Checkpoint:
        """The checkpoint of an epoch, checked.

        Raises:
            ValueError: the file is missing, damaged, or no checkpoint.
        """
        path = self.path(epoch)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError as error:
            raise ValueError(
                f"{path} is missing, and a later checkpoint says that its weights were the best; "
                f"put it back, or empty the folder to train from the beginning"
            ) from error
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} cannot be read ({error}); {self._remedy(epoch)}") from error
        if set(metadata) != {"facts", "sha256"}:
            raise ValueError(
                f"{path} is no checkpoint of mindlib: its header has {sorted(metadata)}, expected "
                f"facts and sha256; pass checkpoints= another folder"
            )
        found = content_digest(metadata["facts"], tensors)
        if found != metadata["sha256"]:
            raise ValueError(
                f"{path} is damaged: its content has the sha256 {found[:12]}…, expected "
                f"{metadata['sha256'][:12]}…; {self._remedy(epoch)}"
            )
        facts = json.loads(metadata["facts"])
        if facts["format"] != FORMAT:
            raise ValueError(
                f"{path} has the format {facts['format']}, expected {FORMAT}; read it with the "
                f"version of mindlib that wrote it, or pass checkpoints= another folder"
            )
        return Checkpoint(tensors, facts)

    def write(self, epoch: int, checkpoint: Checkpoint) -> None:
        """Add the checkpoint of an epoch; it is there whole or not at all.

        Raises:
            OSError: it could not be written; those of earlier epochs are as they were.
        """
        facts = json.dumps({"format": FORMAT} | checkpoint.facts)
        tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
        metadata = {"facts": facts, "sha256": content_digest(facts, tensors)}
        staging = self.folder / STAGING
        unfinished = staging / self.path(epoch).name
        try:
            staging.mkdir(exist_ok=True)
            save_file(tensors, unfinished, metadata)
            _to_disk(unfinished)
            os.replace(unfinished, self.path(epoch))
            if os.name == "posix":  # elsewhere a folder cannot be opened
                _to_disk(self.folder)
        except (OSError, SafetensorError) as error:
            rest = self.epochs()
            before = f"that of epoch {rest[-1]} is untouched" if rest else "there is none before it"
            raise OSError(
                f"the checkpoint of epoch {epoch} could not be written to {self.folder} ({error}); "
                f"{before}: make room there and call fit again"
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def keep(self, epochs: Collection[int]) -> None:
        """Delete the checkpoints of all other epochs."""
        for epoch in self.epochs():
            if epoch not in epochs:
                self.path(epoch).unlink()

    def _remedy(self, epoch: int) -> str:
        rest = [other for other in self.epochs() if other < epoch]
        start = f"after epoch {rest[-1]}" if rest else "from the beginning"
        return f"delete it, and training goes on {start}"


# What is in a checkpoint


def pack(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], generator: torch.Generator
) -> dict[str, Tensor]:
    """Every tensor that the next step depends on, by name."""
    tensors = pack_weights(model)
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimizer.{number}.{index}.{key}"] = value
    return tensors | {"generator": generator.get_state()}


def pack_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights alone."""
    return {f"model.{name}": value for name, value in model.state_dict().items()}


def unpack(
    tensors: Mapping[str, Tensor],
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    generator: torch.Generator,
) -> None:
    """Put back what `pack` took, in place.

    Raises:
        ValueError: the model has other weights, or weights of other shapes.
    """
    load_weights(tensors, model)
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, f"optimizer.{number}.").items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
        # The groups hold the configuration, which is the caller's.
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    generator.set_state(tensors["generator"].cpu())


def load_weights(tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    """Put back what `pack_weights` took, in place.

    Raises:
        ValueError: the model has other weights, or weights of other shapes.
    """
    weights = weights_in(tensors)
    there = {name: tuple(value.shape) for name, value in weights.items()}
    here = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            raise ValueError(
                f"the checkpoint's {name} has the shape {there.get(name, 'of nothing')}, the "
                f"model's {here.get(name, 'of nothing')}; build the model as it was built for the "
                f"checkpoint, or pass checkpoints= another folder"
            )
    model.load_state_dict(weights)


def weights_in(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights among what was packed, by the model's own names."""
    return _below(tensors, "model.")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


# What is being trained


def identity(model: nn.Module, split: Split, config: Any, **others: object) -> dict[str, Any]:
    """All that the weights after an epoch depend on, apart from the weights before the first.

    Args:
        config: a dataclass. (So is the model's own, if it has one.)
        others: what else there is, by name.
    """
    named = {
        "model": type(model).__name__,
        **_fields("model", getattr(model, "config", None)),
        "catalogue": _catalogue(split.log),
        "cases": _cases(split),
        **_fields("training", config),
        **others,
    }
    return json.loads(json.dumps(named))  # as it will be read: tuples are lists there


def check_compatible(there: Mapping[str, Any], here: Mapping[str, Any], where: Path) -> None:
    """Compare what a checkpoint was trained on with what is to be trained.

    Raises:
        ValueError: they differ; the message names the first thing that does.
    """
    for name in [*here, *(name for name in there if name not in here)]:
        if there.get(name) == here.get(name):
            continue
        if name == "catalogue":
            what = "was trained on another catalogue (item ids, features or profile fields)"
        elif name == "cases":
            what = "was trained on other cases (another log, split or popularity)"
        else:
            what = f"was trained with {name}={there.get(name)!r}, not {here.get(name)!r}"
        raise ValueError(
            f"{where} {what}, and would not go on as it began; give it what it was trained with, "
            f"or pass checkpoints= another folder"
        )


def _fields(prefix: str, config: Any) -> dict[str, Any]:
    """The fields of a dataclass, those of dataclasses in it beside them, by dotted name."""
    if not dataclasses.is_dataclass(config):
        return {}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        name, value = f"{prefix}.{field.name}", getattr(config, field.name)
        found |= _fields(name, value) if dataclasses.is_dataclass(value) else {name: value}
    return found


def _catalogue(log: Interactions) -> str:
    digest = hashlib.sha256()
    for item in log.item_ids[1:]:
        digest.update(f"{item}\0".encode())
    if log.item_features:
        digest.update(repr((log.item_features.fields, log.item_features.vocabularies)).encode())
        _update(digest, [log.item_features.codes])
    if log.profiles:
        digest.update(repr((log.profiles.fields, log.profiles.vocabularies)).encode())
    return digest.hexdigest()


def _cases(split: Split) -> str:
    """Of everything that training and validation read of the events."""
    digest = hashlib.sha256()
    for cases in (split.train, split.validation):
        _update(digest, _columns(cases))
    _update(digest, [split.train_counts])
    return digest.hexdigest()


def _columns(cases: Cases) -> list[np.ndarray]:
    columns = [*vars(cases.histories).values(), cases.targets, cases.offsets]
    return [column.cpu().numpy() for column in columns]


def content_digest(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of a file's tensors and of the text in its header."""
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        digest.update(f"\0{name}\0{tensors[name].dtype}".encode())
        _update(digest, [tensors[name].numpy()])
    return digest.hexdigest()


def _update(digest: Any, arrays: Iterable[np.ndarray]) -> None:
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
