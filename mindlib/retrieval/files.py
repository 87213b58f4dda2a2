"""An index as one file: its tensors, and a manifest that describes them and has their digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mindlib.data.storage import atomic_file

FORMAT = "mindlib index 3"
REMEDY = "build it again and save it"


@dataclass(frozen=True)
class IndexContents:
    """The contents of an index file.

    Attributes:
        engine: the name of the index's class.
        dim, ids: as `VectorIndex`; the ids are in the order of the engine.
        tensors, settings: the engine's state; JSON can represent the settings.
    """

    engine: str
    dim: int
    ids: Int[Tensor, " items"]
    tensors: dict[str, Tensor]
    settings: dict[str, Any]


def write(path: Path, contents: IndexContents) -> None:
    """Write an index file, whole or not at all. An OSError reports the latter."""
    tensors = {"ids": contents.ids, **contents.tensors}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    manifest = {
        "format": FORMAT,
        "mindlib": version("mindlib"),
        "engine": contents.engine,
        "dim": contents.dim,
        "num_items": len(contents.ids),
        "settings": contents.settings,
    }
    manifest["sha256"] = _digest(manifest, tensors)
    try:
        with atomic_file(path) as partial:
            save_file(tensors, partial, {"manifest": json.dumps(manifest)})
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"the index could not be written to {path} ({error}); an older file there is "
            f"unchanged. Choose a folder that exists, is writable and has room"
        ) from error


def read(
    path: Path, engines: tuple[str, ...], *, dim: int | None, ids: Int[Tensor, " items"] | None
) -> IndexContents:
    """Read an index file of one of these engines, with the refusals of `VectorIndex.load`."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no index at {path}; build one and save it there")
    try:
        with safe_open(path, framework="pt") as file:
            manifest = json.loads((file.metadata() or {}).get("manifest", "{}"))
            # Copies, because the file is mapped into memory and may be replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged or not an index ({error}); {REMEDY}") from error
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"{path}: the format is {manifest.get('format')!r}, written by mindlib "
            f"{manifest.get('mindlib')}; expected {FORMAT!r}; {REMEDY}"
        )
    if manifest.pop("sha256", None) != _digest(manifest, tensors):
        raise ValueError(f"{path} is damaged (its contents have another sha256); {REMEDY}")
    if dim is not None and manifest["dim"] != dim:
        raise ValueError(
            f"{path}: vectors of dimension {manifest['dim']}; expected {dim}; {REMEDY}"
        )
    own = tensors.pop("ids")
    if ids is not None and not torch.equal(own.sort().values, ids.cpu().sort().values):
        raise ValueError(
            f"{path}: an index of another catalogue ({len(own)} items, "
            f"{int(torch.isin(own, ids.cpu()).sum())} of the {len(ids)} expected); {REMEDY}"
        )
    if (engine := manifest["engine"]) not in engines:
        expected = " or ".join(map(repr, engines))
        raise ValueError(f"{path}: the engine is {engine!r}; expected {expected}; {REMEDY}")
    return IndexContents(engine, manifest["dim"], own, tensors, manifest["settings"])


def _digest(manifest: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Return the sha256 of everything in the file except the digest itself."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
