"""A model out of an exported folder (see `mindlib.online.export`), run by onnxruntime."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import Histories, History
from mindlib.models.vector import USERS_AT_ONCE
from mindlib.retrieval import InterestModel, Recommendations, score_by_best_interest, top_items

FORMAT = "mindlib export 1"
GRAPH, ITEMS, CATALOGUE = "interests.onnx", "items.npy", "catalogue.json"
MANIFEST = "manifest.json"
KEYS = {"format", "mindlib", "history_length", "files"}  # of the manifest, without which no load


@dataclass(frozen=True)
class ExportedModel:
    """An interest model as it is served: it keeps nothing from one call to the next.

    Attributes:
        manifest: the versions, the configuration and the checksums that were written with it.
        catalogue: how a request's ids and values become numbers.
        items: e_i for the whole catalogue; row 0 is padding.
        session: the graph, of onnxruntime.
    """

    manifest: dict[str, Any]
    catalogue: Catalogue
    items: Float[Tensor, "items dim"]
    session: Any

    @staticmethod
    def load(
        path: str | Path, catalogue: Catalogue | None = None, *, threads: int = 1
    ) -> ExportedModel:
        """Open an export, after every byte of it has been checked.

        Args:
            path: the folder.
            catalogue: what the caller's ids mean; refused if the export's own is another one.
            threads: of onnxruntime, for one call. A server answers many requests side by side, and
                one thread for each is best.

        Raises:
            FileNotFoundError: there is no such folder, or it lacks a file.
            ImportError: onnxruntime is not installed.
            ValueError: it is no export of this format, or damaged, or of another catalogue.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                "an exported model needs onnxruntime: pip install 'mindlib[export]'"
            ) from error
        if threads < 1:
            raise ValueError(f"threads={threads}: expected at least one")
        path = Path(path).expanduser()
        manifest = _manifest(path)
        for name in (GRAPH, ITEMS, CATALOGUE):
            expected, found = manifest["files"][name], checksum(_existing(path / name))
            if found != expected:
                raise ValueError(
                    f"{path / name} is damaged ({found['bytes']} bytes, sha256 "
                    f"{found['sha256'][:12]}…; expected {expected['bytes']}, "
                    f"{expected['sha256'][:12]}…): copy it again, or export again"
                )
        own = Catalogue.from_json((path / CATALOGUE).read_text(encoding="utf-8"))
        if catalogue is not None and catalogue.fingerprint != own.fingerprint:
            raise ValueError(
                f"{path} is of another catalogue ({len(own)} items, {own.fingerprint[:12]}…) than "
                f"the one expected ({len(catalogue)} items, {catalogue.fingerprint[:12]}…): export "
                f"a model that was trained with this one"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            path / GRAPH, options, providers=["CPUExecutionProvider"]
        )
        # Mapped, as onnxruntime maps the same file: a large catalogue is in memory once.
        items = torch.from_numpy(np.load(path / ITEMS, mmap_mode="c"))
        return ExportedModel(manifest, own, items, session)

    def interests(
        self, histories: Histories
    ) -> tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]:
        """V_u for each past (Eq. 1), and which of its columns the user has.

        An empty past is answered from the profile alone.

        Raises:
            ValueError: an item or a profile code that the catalogue does not have.
        """
        length = self.manifest["history_length"]
        parts = [
            self._run(histories.select(slice(start, start + USERS_AT_ONCE)).window(length))
            for start in range(0, len(histories), USERS_AT_ONCE)
        ]
        vectors, active = zip(*parts, strict=True)
        return torch.cat(vectors), torch.cat(active)

    def item_vectors(self) -> Float[Tensor, "items dim"]:
        """e_i for the whole catalogue (Eq. 2); row 0 is padding."""
        return self.items

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """The n items with the best score of any interest (Eq. 3), by exact search."""

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return score_by_best_interest(*self.interests(part), self.items)

        return top_items(score, histories, n, len(self.catalogue), exclude_history=exclude_history)

    def _run(
        self, history: History
    ) -> tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]:
        self._check(history)
        outputs = self.session.run(
            ["vectors", "active"], {name: value.numpy() for name, value in vars(history).items()}
        )
        vectors, active = map(torch.from_numpy, outputs)
        return vectors, active

    def _check(self, history: History) -> None:
        """Refuse numbers for which the graph would look up another item's, or field's, row."""
        if int(history.items.max()) > len(self.catalogue):
            raise ValueError(
                f"a history has item {int(history.items.max())}; the catalogue has 1 to "
                f"{len(self.catalogue)}: encode them with Catalogue.encode_requests"
            )
        sizes = torch.tensor(self.catalogue.sizes, dtype=torch.int64)
        if history.profile.shape[1] != len(sizes) or (history.profile >= sizes).any():
            raise ValueError(
                f"profile codes {history.profile[:3].tolist()}: expected {len(sizes)} columns, "
                f"each below {self.catalogue.sizes}: encode the profile with "
                f"Catalogue.encode_requests"
            )


def measure_skew(model: InterestModel, exported: InterestModel, histories: Histories) -> float:
    """How far the served vectors are from a model's own: the largest |v - v'| / |v|.

    Infinite where the two disagree on which interests a user has.
    """
    (ours, active), (served, served_active) = (m.interests(histories) for m in (model, exported))
    if not torch.equal(active, served_active) or (served[~active] != 0).any():
        return float("inf")
    # Of a model without head, a user without behaviours has the zero vector.
    lengths = ours.norm(dim=2).clamp(min=torch.finfo(ours.dtype).tiny)
    return float(((ours - served).norm(dim=2) / lengths)[active].max())


def checksum(path: Path) -> dict[str, Any]:
    """The size and the sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} lacks {path.name}; expected a folder that "
            f"mindlib.online.export.export wrote"
        )
    return path


def _manifest(folder: Path) -> dict[str, Any]:
    path = _existing(folder / MANIFEST)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again, or export again") from error
    if not isinstance(manifest, dict) or not manifest.keys() >= KEYS:
        raise ValueError(f"{path} lacks one of {sorted(KEYS)}: copy it again, or export again")
    if manifest["format"] != FORMAT:
        raise ValueError(
            f"{folder} has the format {manifest['format']!r}, this mindlib reads {FORMAT!r}; "
            f"export the model again with mindlib {version('mindlib')}, or serve it with "
            f"{manifest['mindlib']}"
        )
    return manifest
