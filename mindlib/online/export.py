"""Export the user interest extractor (§4.3) of a trained model as an ONNX graph.

An export is a folder that never changes:

- `interests.onnx`: (items, mask, profile) -> (vectors, active) and, for a model that computes one,
  the coupling, for any batch size and any length (up to history_length for a model with position
  weights). The graph contains Algorithm 1 with its deterministic initial logits, and the head. It
  has no label-aware attention, because there is no label at serving time (§3.4).
- `items.npy`: e_i of the whole catalogue. The graph reads its embeddings from this file, so that
  routing and retrieval use the same vectors.
- `catalogue.json`: the original ids and the values of the profile fields.
- `manifest.json`: versions, configuration and checksums.

`mindlib.online.exported.ExportedModel` serves it. Any program with ONNX Runtime can do so too,
without PyTorch: items as int64 (batch, length), padded with 0, mask as bool, profile as int64.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from contextlib import ExitStack
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
from mindlib.models.vector_model import Interests, VectorModel
from mindlib.online.artifacts import new_folder, write_manifest
from mindlib.online.exported import CATALOGUE, FORMAT, GRAPH, ITEMS, TABLE


class ServingModule(nn.Module):
    """The part of a model that is exported: from behaviors and profile to V_u, without a label."""

    item_vectors: Float[Tensor, "items dim"]

    def __init__(self, model: VectorModel) -> None:
        super().__init__()
        self.model = model
        self.register_buffer(TABLE, model.item_vectors())

    def forward(
        self,
        items: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch length"],
        profile: Int[Tensor, "batch fields"],
    ) -> tuple[Tensor, ...]:
        """Return the fields of `Interests`, without a coupling if the model computes none."""
        behaviors = F.embedding(items, self.item_vectors)
        interests = self.model.encode(behaviors, History(items, mask, profile), generator=None)
        return tuple(field for field in interests if field is not None)


def export(model: VectorModel, log: Interactions, path: str | Path) -> Path:
    """Export a model into a new folder, whole or not at all.

    Args:
        model: a trained model on the CPU.
        log: the log that the model was trained with; it defines the catalogue.
        path: the folder, which must not exist. Give each export a new name.

    Raises:
        FileExistsError: `path` exists.
        ImportError: the packages of the extra "export" are not installed.
        OSError: the folder cannot be written; nothing remains of it.
        ValueError: the log is not the model's, or the model is not finite or not on the CPU.
    """
    path = Path(path).expanduser()
    with new_folder(path, FORMAT) as folder:
        catalogue = Catalogue.from_log(log)
        _check(model, catalogue)
        _write(folder, _trace(model, len(catalogue.fields)), model, catalogue)
    return path


def _check(model: VectorModel, catalogue: Catalogue) -> None:
    items, codes = model.items.num_items, len(model.profile.weight)
    expected = sum(catalogue.sizes) if model.has_head else 0  # without a head, no profile is used
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
    """Trace the serving module to an ONNX program."""
    try:
        import onnxscript  # noqa: F401 (torch.onnx requires it, with a less clear message)
    except ImportError as error:
        raise ImportError("export needs onnxscript: pip install 'mindlib[export]'") from error
    # Any sizes but 0 and 1, which the trace would turn into constants.
    items = torch.tensor([[1, 1, 1], [1, 0, 0]])
    example = (items, items > 0, torch.zeros((2, fields), dtype=torch.int64))
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    module, logger = ServingModule(model), logging.getLogger("torch.onnx")
    with ExitStack() as stack:
        # The exporter's notes on its internals and on optional packages are suppressed.
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        stack.enter_context(torch.no_grad())
        outputs = Interests._fields[: len(module(*example))]
        return torch.onnx.export(
            module,
            example,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}, {0: batch}),
            input_names=["items", "mask", "profile"],
            output_names=outputs,
        )


def _write(folder: Path, program: Any, model: VectorModel, catalogue: Catalogue) -> None:
    import onnx_ir

    vectors = model.item_vectors().numpy()
    np.save(folder / ITEMS, vectors)
    table = program.model.graph.initializers[TABLE]
    table.const_value = onnx_ir.ExternalTensor(
        location=ITEMS,
        offset=(folder / ITEMS).stat().st_size - vectors.nbytes,  # after the header of .npy
        length=vectors.nbytes,
        dtype=table.dtype,
        shape=table.const_value.shape,
        name=TABLE,
        base_dir=folder,
    )
    program.save(folder / GRAPH)
    (folder / CATALOGUE).write_text(catalogue.to_json(), encoding="utf-8")
    facts = {
        "torch": torch.__version__,
        "model": type(model).__name__,
        "config": dataclasses.asdict(model.config),
        "dim": model.items.dim,
        "history_length": model.history_length,
        "items": len(catalogue),
        "catalogue": catalogue.fingerprint,
    }
    write_manifest(folder, FORMAT, (GRAPH, ITEMS, CATALOGUE), facts)
