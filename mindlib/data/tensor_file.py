"""A file of named tensors, and of facts that JSON can hold, with a sha256 of both.

Indexes, rankers and checkpoints are such files, in the format of safetensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mindlib.data.storage import atomic_file


class TensorFile(NamedTuple):
    """The content of a file: named tensors, and facts that can be written as JSON."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def write_tensors(path: Path, form: str, content: TensorFile) -> None:
    """Write a file, completely or not at all.

    Args:
        form: the kind and the number of the format, such as "mindlib index 4".

    Raises:
        OSError: the file cannot be written; an older file is unchanged.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in content.tensors.items()}
    facts = json.dumps({"format": form, "mindlib": version("mindlib"), **content.facts})
    metadata = {"facts": facts, "sha256": _digest(facts, tensors)}
    try:
        with atomic_file(path) as partial:
            save_file(tensors, partial, metadata)
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"{path} could not be written ({error}); earlier files are unchanged. Choose a folder "
            f"that exists, is writable and has room, and try again"
        ) from error


def read_tensors(path: Path, form: str, remedy: str) -> TensorFile:
    """Read a file that `write_tensors` wrote, and verify its digest.

    Args:
        form: the format that it must have.
        remedy: the end of each message.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, cannot be read, or has another format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no {form.split()[1]} at {path}; {remedy}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies, because the file is mapped into memory and may be replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{path} is damaged or has another format than {form!r} ({error}); {remedy}"
        ) from error
    if metadata.keys() != {"facts", "sha256"}:
        raise ValueError(f"{path} was not written by mindlib in the format {form!r}; {remedy}")
    if _digest(metadata["facts"], tensors) != metadata["sha256"]:
        raise ValueError(f"{path} is damaged (its content has another sha256); {remedy}")
    facts = json.loads(metadata["facts"])
    if facts["format"] != form:
        raise ValueError(
            f"{path} has the format {facts['format']!r}, expected {form!r}, which mindlib "
            f"{version('mindlib')} writes; {remedy}"
        )
    return TensorFile(tensors, facts)


def _digest(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of everything in the file except the digest itself."""
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
