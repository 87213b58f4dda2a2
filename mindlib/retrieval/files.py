"""An index as one file: its tensors, and a manifest that describes them and has their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
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

FORMAT = "mindlib index 2"
METRIC = "inner product"
REMEDY = "build it again and save it"


@dataclass(frozen=True)
class IndexContents:
    """The contents of an index file.

    Attributes:
        engine: the name of the index's class.
        dim: d.
        ids: the ids of the items, in the order of the engine.
        tensors: all other tensors of the index.
        settings: the settings of the engine, which JSON can represent.
    """

    engine: str
    dim: int
    ids: Int[Tensor, " items"]
    tensors: dict[str, Tensor]
    settings: dict[str, Any]


def fingerprint(ids: Int[Tensor, " items"]) -> str:
    """Return a digest of a set of ids that does not depend on their order."""
    ordered = ids.to("cpu", torch.int64).sort().values.numpy().astype("<i8")
    return hashlib.sha256(ordered.tobytes()).hexdigest()


def write(path: str | Path, contents: IndexContents) -> None:
    """Write an index file, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path).expanduser()
    tensors = {"ids": contents.ids, **contents.tensors}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    manifest = {
        "format": FORMAT,
        "mindlib": version("mindlib"),
        "engine": contents.engine,
        "metric": METRIC,
        "dim": contents.dim,
        "num_items": len(contents.ids),
        "fingerprint": fingerprint(contents.ids),
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
    path: str | Path, engine: str, *, dim: int | None, ids: Int[Tensor, " items"] | None
) -> IndexContents:
    """Read an index file, and refuse it if it is damaged or another index than required.

    Args:
        engine: the name of the class that reads it.
        dim, ids: as `VectorIndex.load`.

    Raises:
        FileNotFoundError, ValueError: as `VectorIndex.load`.
    """
    with _open(path) as (file, manifest):
        for name, value in {"engine": engine, "metric": METRIC}.items():
            _require(path, manifest, name, value)
        # Copies, because the file is mapped into memory and may be replaced.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if manifest.pop("sha256", None) != _digest(manifest, tensors):
            raise ValueError(f"{path} is damaged (its sha256 is another one); {REMEDY}")
    if dim is not None and manifest["dim"] != dim:
        raise ValueError(
            f"{path}: vectors of dimension {manifest['dim']}; expected {dim}; {REMEDY}"
        )
    if ids is not None and manifest["fingerprint"] != fingerprint(ids):
        raise ValueError(
            f"{path}: an index of another catalogue ({manifest['num_items']} items with the "
            f"fingerprint {manifest['fingerprint'][:8]}; expected {len(ids)} with "
            f"{fingerprint(ids)[:8]}); {REMEDY}"
        )
    return IndexContents(engine, manifest["dim"], tensors.pop("ids"), tensors, manifest["settings"])


def read_engine(path: str | Path) -> str:
    """Return the name of the class that wrote an index file.

    Raises:
        FileNotFoundError, ValueError: as `VectorIndex.load`.
    """
    with _open(path) as (_, manifest):
        return str(manifest.get("engine"))


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no index at {path}; build one and save it there")
    try:
        with safe_open(path, framework="pt") as file:
            manifest = json.loads((file.metadata() or {}).get("manifest", "{}"))
            _require(path, manifest, "format", FORMAT)
            yield file, manifest
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged or not an index ({error}); {REMEDY}") from error


def _require(path: str | Path, manifest: dict[str, Any], name: str, expected: str) -> None:
    if manifest.get(name) != expected:
        raise ValueError(
            f"{path}: the {name} is {manifest.get(name)!r}, written by mindlib "
            f"{manifest.get('mindlib')}; expected {expected!r}; {REMEDY}"
        )


def _digest(manifest: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Return the sha256 of everything in the file but the digest itself."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
