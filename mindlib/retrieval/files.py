"""An index as one file: its tensors, and a manifest that says what they are."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "mindlib index 1"
METRIC = "inner product"


@dataclass(frozen=True)
class Stored:
    """What the file of an index holds.

    Attributes:
        engine: the name of the class.
        dim: d.
        ids: of the items, as the engine orders them; 0 where there is none any more.
        tensors: what the engine keeps besides.
        settings: of the engine, as JSON can hold them.
    """

    engine: str
    dim: int
    ids: Int[Tensor, " places"]
    tensors: dict[str, Tensor]
    settings: dict[str, Any]

    @property
    def manifest(self) -> dict[str, Any]:
        """What is checked before anything else is read."""
        held = self.ids[self.ids > 0]
        return {
            "format": FORMAT,
            "mindlib": version("mindlib"),
            "engine": self.engine,
            "metric": METRIC,
            "dim": self.dim,
            "num_items": len(held),
            "fingerprint": fingerprint(held),
            "settings": self.settings,
        }


def fingerprint(ids: Int[Tensor, " items"]) -> str:
    """The same for the same set of ids, whatever their order."""
    ordered = ids.to("cpu", torch.int64).sort().values.numpy().astype("<i8")
    return hashlib.sha256(ordered.tobytes()).hexdigest()


def write(path: str | Path, stored: Stored) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path).expanduser()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    tensors = {name: value.contiguous() for name, value in stored.tensors.items()}
    try:
        save_file(
            {"ids": stored.ids.contiguous(), **tensors},
            part,
            {"manifest": json.dumps(stored.manifest)},
        )
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"the index could not be written to {path} ({error}); what was there is unchanged. "
            f"Choose a folder that exists, is writable and has room"
        ) from error
    finally:
        # A folder that is none has no such file either.
        if part.parent.is_dir():
            part.unlink(missing_ok=True)


def read(
    path: str | Path, engine: str, *, dim: int | None, ids: Int[Tensor, " items"] | None
) -> Stored:
    """Read the file of an index, and refuse it if it is not the one that is meant.

    Args:
        engine: the class that asks.
        dim, ids: as `VectorIndex.load`.

    Raises:
        FileNotFoundError, ValueError: as `VectorIndex.load`.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no index at {path}; build one and save it there")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("manifest")
            manifest = json.loads(text) if text else {}
            _check(path, manifest, engine, dim, ids)
            # The file is mapped, and may be replaced while the index lives: copies.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is cut short or no index ({error}); build it again and save it"
        ) from error
    stored = Stored(
        engine, manifest["dim"], tensors.pop("ids"), tensors, dict(manifest["settings"])
    )
    for name in ("num_items", "fingerprint"):
        if stored.manifest[name] != manifest[name]:
            raise ValueError(
                f"{path}: the ids do not fit the manifest ({name}); build it again and save it"
            )
    return stored


def _check(
    path: Path,
    manifest: dict[str, Any],
    engine: str,
    dim: int | None,
    ids: Int[Tensor, " items"] | None,
) -> None:
    again = "build it again and save it"
    expected = {"format": FORMAT, "engine": engine, "metric": METRIC}
    for name, value in expected.items():
        if manifest.get(name) != value:
            raise ValueError(
                f"{path}: the {name} is {manifest.get(name)!r}, written by mindlib "
                f"{manifest.get('mindlib')}; expected {value!r}; {again}"
            )
    if dim is not None and manifest["dim"] != dim:
        raise ValueError(f"{path}: vectors of dimension {manifest['dim']}; expected {dim}; {again}")
    if ids is not None and manifest["fingerprint"] != fingerprint(ids):
        raise ValueError(
            f"{path}: an index of another catalogue ({manifest['num_items']} items with the "
            f"fingerprint {manifest['fingerprint'][:8]}; expected {len(ids)} with "
            f"{fingerprint(ids)[:8]}); {again}"
        )
