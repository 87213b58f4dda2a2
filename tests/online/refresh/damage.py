"""Ways to break an export whose manifest matches its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mindlib.data import Catalogue
from mindlib.online.artifacts import seal
from mindlib.online.serving.bundle import INDEX
from mindlib.retrieval import ExactIndex, load_index
from mindlib.retrieval.index import digest_items
from tests.online.refresh.world import own


def _items(bundle: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the item vectors, from which the graph reads and the index is built."""
    path = bundle / "model" / "items.npy"
    vectors = np.load(path)
    vectors[1:] = change(vectors[1:])
    np.save(path, vectors)
    items, ids = torch.from_numpy(vectors)[1:], torch.arange(1, len(vectors))
    ExactIndex(ids, items.shape[1], digest_items(items, ids), items).save(bundle / INDEX)
    own(bundle)


def zeros(bundle: Path) -> None:
    _items(bundle, np.zeros_like)


def one_nan(bundle: Path) -> None:
    def change(vectors: np.ndarray) -> np.ndarray:
        vectors[3, 2] = np.nan
        return vectors

    _items(bundle, change)


def shuffled_vectors(bundle: Path) -> None:
    """The vectors are under other items' numbers, in the export and in the index alike."""
    _items(bundle, lambda vectors: np.roll(vectors, 7, axis=0))


def shuffled_index(bundle: Path) -> None:
    """Only the index has the vectors under other numbers."""
    index = load_index(bundle / INDEX)
    index.ids = index.ids.roll(7)
    index.save(bundle / INDEX)
    own(bundle)


def shuffled_ids(bundle: Path) -> None:
    """The numbers are right and stand for other items of the shop."""
    path = bundle / "model" / "catalogue.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["item_ids"] = content["item_ids"][::-1]
    path.write_text(json.dumps(content), encoding="utf-8")
    own(bundle)
    fingerprint = Catalogue.from_json(path.read_text(encoding="utf-8")).fingerprint
    manifest = bundle / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8")) | {"catalogue": fingerprint}
    manifest.write_text(json.dumps(seal(content)), encoding="utf-8")


def truncated(bundle: Path) -> None:
    path = bundle / "model" / "interests.onnx"
    path.write_bytes(path.read_bytes()[:-100])


def missing(bundle: Path) -> None:
    (bundle / INDEX).unlink()


BROKEN: dict[Callable[[Path], None], str] = {
    zeros: r"(\d+) of \1 item vectors are zero",
    one_nan: r"1 of \d+ item vectors are not finite",
    shuffled_vectors: r"share \d+\.\d% of their 5 items with those of the trained model",
    shuffled_index: r"share \d+\.\d% of their 5 items with those by exact search",
    shuffled_ids: r"its catalogue \(\d+ items, .*is not the log's",
    truncated: r"interests\.onnx is damaged or of another version \(\d+ bytes",
    missing: r"index\.safetensors is missing",
}
