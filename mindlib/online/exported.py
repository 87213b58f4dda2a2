"""Serve a model from an exported folder (see `mindlib.online.export`) with ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import Histories
from mindlib.models.vector_model import USERS_AT_ONCE
from mindlib.online.artifacts import ArtifactFormat, read_manifest
from mindlib.retrieval import ExactSearch, InterestModel

GRAPH, ITEMS, CATALOGUE = "interests.onnx", "items.npy", "catalogue.json"
TABLE = "item_vectors"  # the name of these vectors in the graph
FORMAT = ArtifactFormat("export", 2, "mindlib.online.export.export")


@dataclass(frozen=True)
class ExportedModel(ExactSearch):
    """An `InterestModel` that runs an exported graph; it has no state between calls.

    Attributes:
        manifest: versions, configuration and checksums.
        catalogue: the mapping from original ids and profile values to numbers.
        items: e_i of the whole catalogue; row 0 is padding.
        session: the ONNX Runtime session of the graph.
    """

    manifest: dict[str, Any]
    catalogue: Catalogue
    items: Float[Tensor, "items dim"]
    session: Any

    @staticmethod
    def load(path: str | Path) -> ExportedModel:
        """Load an export after comparing every byte of it with its checksums.

        A call runs in one thread, because a server answers many requests in parallel.

        Raises:
            ImportError: ONNX Runtime is not installed.
            ArtifactError: the folder cannot be served.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                "an exported model needs onnxruntime: pip install 'mindlib[export]'"
            ) from error
        path = Path(path).expanduser()
        manifest = read_manifest(path, FORMAT)
        catalogue = Catalogue.from_json((path / CATALOGUE).read_text(encoding="utf-8"))
        # In memory, not mapped, because a file may be truncated or overwritten while it is served.
        # ONNX Runtime makes a copy of its own, so that the table is in memory twice.
        items = np.load(path / ITEMS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        table = onnxruntime.OrtValue.ortvalue_from_numpy(items)
        options.add_external_initializers([TABLE], [table])
        session = onnxruntime.InferenceSession(
            (path / GRAPH).read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        return ExportedModel(manifest, catalogue, torch.from_numpy(items), session)

    def interests(
        self, histories: Histories
    ) -> tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]:
        """Return V_u of each history (Eq. 1), and which of the interests are active.

        Raises:
            ValueError: an item or a profile code is not in the catalogue.
        """
        parts = []
        for some in histories.split(USERS_AT_ONCE):
            history = some.window(self.manifest["history_length"])
            history.check_codes(len(self.catalogue), self.catalogue.sizes)
            inputs = {name: value.numpy() for name, value in vars(history).items()}
            parts.append(self.session.run(["vectors", "active"], inputs))
        vectors, active = map(np.concatenate, zip(*parts, strict=True))
        return torch.from_numpy(vectors), torch.from_numpy(active)

    def item_vectors(self) -> Float[Tensor, "items dim"]:
        """Return e_i of the whole catalogue (Eq. 2); row 0 is padding."""
        return self.items


def measure_skew(model: InterestModel, exported: InterestModel, histories: Histories) -> float:
    """Measure training-serving skew: the largest |v - v'| / |v| over all interest vectors.

    The result is infinite if the two models disagree on the active interests.
    """
    (ours, active), (served, served_active) = (m.interests(histories) for m in (model, exported))
    if not torch.equal(active, served_active) or (served[~active] != 0).any():
        return float("inf")
    # A model without a head returns the zero vector for an empty history.
    norms = ours.norm(dim=2).clamp(min=torch.finfo(ours.dtype).tiny)
    return float(((ours - served).norm(dim=2) / norms)[active].max())
