"""The interest extractor as a file (§4.3): a trained model's serving form, for onnxruntime.

An export is a folder that is never changed after it has appeared:

- `interests.onnx`: (items, mask, profile) -> (vectors, active), for any batch and any length (of a
  model with weights for each place: up to its history_length). It has Algorithm 1 with its initial
  logits, derived from (seed, item, interest), and the head. It has no label-aware attention, for
  nobody has a label at serving (§3.4).
- `items.npy`: e_i of the whole catalogue. The graph reads its embeddings out of this very file, so
  that the vectors which are searched and those which are routed cannot be of two trainings.
- `catalogue.json`: original ids and the words of the profile fields.
- `manifest.json`: versions, configuration and checksums.

`mindlib.online.exported.ExportedModel` serves it. So does any program with onnxruntime, without
torch: history ids as int64 (batch, length), padded with 0, mask as bool, profile codes as int64.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import History
from mindlib.data.interactions import Interactions
from mindlib.models.vector import VectorModel
from mindlib.online.exported import CATALOGUE, FORMAT, GRAPH, ITEMS, MANIFEST, checksum


class ServingModule(nn.Module):
    """What is exported of a model: from behaviours and profile to V_u, without the label."""

    item_vectors: Float[Tensor, "items dim"]

    def __init__(self, model: VectorModel) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("item_vectors", model.item_vectors())

    def forward(
        self,
        items: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch length"],
        profile: Int[Tensor, "batch fields"],
    ) -> tuple[Float[Tensor, "batch interests dim"], Bool[Tensor, "batch interests"]]:
        """V_u, and which of its columns the user has."""
        behaviors = F.embedding(items, self.item_vectors)
        interests = self.model.encode(behaviors, History(items, mask, profile), generator=None)
        return interests.vectors, interests.active


def export(model: VectorModel, log: Interactions, path: str | Path) -> Path:
    """Write a model's serving form into a new folder, whole or not at all.

    Args:
        model: on the CPU.
        log: what it was trained with: the catalogue is taken from it.
        path: the folder, which must not exist. Give each export a name of its own, and point the
            server at the newest.

    Raises:
        FileExistsError: there is something at `path`.
        ImportError: the packages of the extra "export" are not installed.
        OSError: the folder cannot be written; nothing is left behind.
        ValueError: the log is not the model's, or the model is not finite, or not on the CPU.
    """
    path = Path(path).expanduser()
    if path.exists():
        raise FileExistsError(
            f"{path} exists; an export is never overwritten, a server may be reading it: "
            f"choose another name"
        )
    catalogue = Catalogue.from_log(log)
    _check(model, catalogue)
    program = _trace(model, len(catalogue.fields))
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        _write(partial, program, model, catalogue)
        partial.rename(path)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"the export cannot be written ({error.strerror}), and nothing of it is left; "
            f"choose a folder with room that you may write to",
            str(path),
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _check(model: VectorModel, catalogue: Catalogue) -> None:
    """Refuse what would be served wrongly."""
    items, codes = model.items.num_items, len(model.profile.weight)
    # A model without head has no use for the profile: it takes it and leaves it.
    expected = sum(catalogue.sizes) if model.has_head else 0
    if (items, codes) != (len(catalogue), expected):
        raise ValueError(
            f"the model has {items} items and {codes} profile values, the log {len(catalogue)} "
            f"and {expected}; pass the log that the model was built with"
        )
    for name, weight in model.named_parameters():
        if weight.device.type != "cpu":
            raise ValueError(f"{name} is on {weight.device}; export model.cpu()")
        if not weight.isfinite().all():
            raise ValueError(f"{name} has NaN or infinite values; export a model that converged")


def _trace(model: VectorModel, fields: int) -> Any:
    """The ONNX program of the serving form."""
    try:
        import onnxscript  # noqa: F401 (torch.onnx needs it, and says so less clearly)
    except ImportError as error:
        raise ImportError("export needs onnxscript: pip install 'mindlib[export]'") from error
    # Any batch and length but 0 and 1, of which a trace would make constants.
    items = torch.tensor([[1, 1, 1], [1, 0, 0]])
    example = (items, items > 0, torch.zeros((2, fields), dtype=torch.int64))
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    with torch.no_grad(), _quietly():
        return torch.onnx.export(
            ServingModule(model),
            example,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}, {0: batch}),
            input_names=["items", "mask", "profile"],
            output_names=["vectors", "active"],
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says of its own internals and of packages that nobody asked for."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _write(folder: Path, program: Any, model: VectorModel, catalogue: Catalogue) -> None:
    import onnx_ir

    vectors = model.item_vectors().numpy()
    np.save(folder / ITEMS, vectors)
    table = program.model.graph.initializers["item_vectors"]
    table.const_value = onnx_ir.ExternalTensor(
        location=ITEMS,
        offset=(folder / ITEMS).stat().st_size - vectors.nbytes,  # after the header of .npy
        length=vectors.nbytes,
        dtype=table.dtype,
        shape=table.const_value.shape,
        name="item_vectors",
        base_dir=folder,
    )
    program.save(folder / GRAPH)
    (folder / CATALOGUE).write_text(catalogue.to_json(), encoding="utf-8")
    manifest = {
        "format": FORMAT,
        "mindlib": version("mindlib"),
        "torch": torch.__version__,
        "model": type(model).__name__,
        "config": dataclasses.asdict(model.config),
        "dim": model.items.dim,
        "history_length": model.history_length,
        "items": len(catalogue),
        "catalogue": catalogue.fingerprint,
        "files": {name: checksum(folder / name) for name in (GRAPH, ITEMS, CATALOGUE)},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
