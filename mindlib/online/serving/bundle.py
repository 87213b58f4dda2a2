"""One version of everything that an answer is made from, as a folder that never changes.

- `manifest.json`: the format, the version, and a sha256 of every other part.
- `model/`: the exported extractor (`mindlib.online.export`), item vectors and catalogue.
- `index.safetensors`: the index of these item vectors.
- `popularity.npy`: how often each item occurs, for users of whom nothing is known.
- `item_metadata.json`: the title of each item, and its category for the re-ranking.
- `ranker.safetensors`: the ranker, if there is one. Without, recall's order is shown.

A folder appears whole or not at all: it is written under a name that starts with a dot and ends
with `.partial`, and then renamed. A process that is killed meanwhile leaves such a folder behind,
which nobody reads and anybody may delete.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from mindlib.data.catalogue import Catalogue
from mindlib.data.interactions import Interactions
from mindlib.models.vector import VectorModel
from mindlib.online.artifacts import DamagedPart, MismatchedPart, MissingPart
from mindlib.online.exported import ExportedModel, checksum
from mindlib.online.ranking import DINRanker
from mindlib.online.serving.stages import (
    InterestExtractor,
    InterestRecall,
    PopularityRecall,
    Ranker,
)
from mindlib.retrieval import Engine, InterestModel, VectorIndex, catalogue, load_index, write_index

FORMAT = "mindlib bundle 2"
MANIFEST, MODEL = "manifest.json", "model"
INDEX, POPULARITY, METADATA = "index.safetensors", "popularity.npy", "item_metadata.json"
RANKER = "ranker.safetensors"
MODEL_MANIFEST = f"{MODEL}/manifest.json"  # which has the checksums of the model's own files
KEYS = {"format", "version", "catalogue", "engine", "files"}
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ItemMetadata:
    """What is known of the items besides their vectors.

    Attributes:
        titles: the title of each item (entry 0 is empty).
        categories: the code of each item's category; 0 is unknown (entry 0 is padding).
    """

    titles: tuple[str, ...]
    categories: Int[np.ndarray, " items"]

    @staticmethod
    def of(log: Interactions, category: str | None) -> ItemMetadata:
        """Those of a log's items.

        Args:
            category: the item field that the re-ranking looks at; None: all are unknown.

        Raises:
            ValueError: the log's items have no such field.
        """
        titles = ("", *(log.label(item) for item in range(1, log.num_items + 1)))
        if category is None:
            return ItemMetadata(titles, np.zeros(log.num_items + 1, dtype=np.int64))
        fields = log.item_features.fields if log.item_features else ()
        if log.item_features is None or category not in fields:
            raise ValueError(
                f"category={category!r}: expected one of the item fields of {log.name!r} "
                f"({', '.join(fields) or 'it has none'}), or None"
            )
        return ItemMetadata(titles, log.item_features.column(category))


@dataclass(frozen=True)
class Bundle:
    """A version, loaded. Nothing in it changes: a platform replaces it as a whole.

    Attributes:
        version: its name, in every answer.
        catalogue: how original ids and profile values become the numbers of this version.
        model: the interest extractor's.
        index: of the model's item vectors.
        counts: how often each item occurs; entry 0 is padding.
        labels: titles and categories.
        ranker: None: candidates are shown in recall's order.
    """

    version: str
    catalogue: Catalogue
    model: InterestModel
    index: VectorIndex
    counts: Int[np.ndarray, " items"]
    metadata: ItemMetadata
    ranker: Ranker | None = None

    @cached_property
    def extractor(self) -> InterestExtractor:
        """The first stage."""
        return InterestExtractor(self.model)

    @cached_property
    def recall(self) -> InterestRecall:
        """The second."""
        return InterestRecall(self.index, self.model.item_vectors())

    @cached_property
    def popularity(self) -> PopularityRecall:
        """Instead of these two, where nothing is known or they are down."""
        return PopularityRecall(self.counts)

    @staticmethod
    def write(
        folder: str | Path,
        *,
        version: str,
        model: VectorModel,
        log: Interactions,
        counts: Int[np.ndarray, " items"],
        ranker: Ranker | None = None,
        category: str | None = None,
        index: Engine = "exact",
    ) -> Path:
        """Export a model, index its items, and write both into a new folder with all that belongs.

        Args:
            folder: must not exist; it appears when it is whole.
            version: letters, digits, dots and dashes, 64 at most.
            model: on the CPU.
            log: what it was trained with.
            counts: how often each item occurs in what training may use: `Split.train_counts`.
            ranker: trained with the same log.
            category: the item field that the re-ranking looks at; None: it looks at none.
            index: the engine, as `mindlib.retrieval.engines` describes it: "exact", "faiss",
                "milvus:items.db" (embedded in this folder), "milvus:http://localhost:19530", or a
                function such as `FaissIndex.build`. Deleting the folder of a version does not
                delete a collection outside it.

        Raises:
            FileExistsError: there is something at `folder`.
            ImportError: the packages of the extra "export", or of the engine, are not installed.
            OSError: the folder cannot be written, or Milvus does not answer; nothing is left
                behind.
            ValueError: the parts do not belong together, or the model is not finite.
        """
        from mindlib.online.export import export  # torch's exporter, which a server does not need

        folder = Path(folder).expanduser()
        _check(version, log, counts)
        metadata = ItemMetadata.of(log, category)
        if folder.exists():
            raise FileExistsError(
                f"{folder} exists; a version is never overwritten, a server may be reading it: "
                f"choose another name"
            )
        partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
        try:
            partial.mkdir(parents=True)
            export(model, log, partial / MODEL)
            exported = ExportedModel.load(partial / MODEL)
            engine = write_index(partial / INDEX, index, *catalogue(exported))
            np.save(partial / POPULARITY, counts)
            text = {"titles": metadata.titles, "categories": metadata.categories.tolist()}
            (partial / METADATA).write_text(json.dumps(text), encoding="utf-8")
            if ranker is not None:
                ranker.save(partial / RANKER)
            parts = [MODEL_MANIFEST, INDEX, POPULARITY, METADATA, *([RANKER] if ranker else [])]
            manifest = {
                "format": FORMAT,
                "version": version,
                "mindlib": installed("mindlib"),
                "catalogue": exported.catalogue.fingerprint,
                "engine": engine,
                "files": {name: checksum(partial / name) for name in parts},
            }
            (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder

    @staticmethod
    def load(folder: str | Path, *, read_ranker: Callable[[Path], Ranker] | None = None) -> Bundle:
        """Open a version, after every byte of it has been checked.

        Args:
            read_ranker: what reads the ranker, of a version that has one; `DINRanker.load` if it is
                not given.

        Raises:
            ImportError: onnxruntime, or the engine of the index, is not installed.
            MissingPart, DamagedPart, MismatchedPart: what keeps it from being served.
        """
        folder = Path(folder).expanduser()
        manifest = _manifest(folder)
        for name, expected in manifest["files"].items():
            _unchanged(folder / name, expected)
        try:
            model = ExportedModel.load(folder / MODEL)
        except FileNotFoundError as error:
            raise MissingPart(f"{error}; copy {folder} again, or write it again") from error
        except ValueError as error:
            raise DamagedPart(str(error)) from error
        items, dim = model.item_vectors().shape
        if model.catalogue.fingerprint != manifest["catalogue"]:
            raise MismatchedPart(f"{folder / MODEL} is of another catalogue: write {folder} again")
        try:
            index = load_index(folder / INDEX, dim=dim, ids=torch.arange(1, items))
        except ConnectionError as error:
            raise MissingPart(str(error)) from error
        except ValueError as error:
            raise MismatchedPart(str(error)) from error
        if type(index).__name__ != manifest["engine"]:
            raise MismatchedPart(
                f"{folder / INDEX}: the engine is {type(index).__name__!r}, the manifest names "
                f"{manifest['engine']!r}: write the version again"
            )
        counts = np.load(folder / POPULARITY)
        text = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        metadata = ItemMetadata(tuple(text["titles"]), np.array(text["categories"], dtype=np.int64))
        for name, length in ((POPULARITY, len(counts)), (METADATA, len(metadata.categories))):
            if length != items:
                raise MismatchedPart(
                    f"{folder / name} has {length - 1} items, the catalogue {items - 1}: "
                    f"write {folder} again"
                )
        return Bundle(
            manifest["version"],
            model.catalogue,
            model,
            index,
            counts,
            metadata,
            _ranker(folder, manifest, model.catalogue, read_ranker),
        )


def _check(version: str, log: Interactions, counts: Int[np.ndarray, " items"]) -> None:
    if not VERSION.fullmatch(version):
        raise ValueError(
            f"version={version!r}: expected letters, digits, dots, dashes and underscores, "
            f"1 to 64 of them, the first a letter or a digit"
        )
    if len(counts) != log.num_items + 1 or counts.min() < 0:
        raise ValueError(
            f"counts of {len(counts) - 1} items, the least {counts.min()}: expected one for each "
            f"of the log's {log.num_items} items, 0 or more; pass Split.train_counts"
        )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingPart(f"{folder} lacks {MANIFEST}; expected a folder that Bundle.write wrote")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedPart(f"{path} is damaged ({error}): copy it again") from error
    if not isinstance(manifest, dict) or not manifest.keys() >= KEYS:
        raise DamagedPart(f"{path} lacks one of {sorted(KEYS)}: copy it again")
    if manifest["format"] != FORMAT:
        raise MismatchedPart(
            f"{folder} has the format {manifest['format']!r}, this mindlib reads {FORMAT!r}: write "
            f"it again with mindlib {installed('mindlib')}"
        )
    absent = {MODEL_MANIFEST, INDEX, POPULARITY, METADATA} - manifest["files"].keys()
    if absent:
        raise DamagedPart(f"{path} has no checksum of {', '.join(sorted(absent))}: copy it again")
    return manifest


def _unchanged(path: Path, expected: dict[str, Any]) -> None:
    if not path.is_file():
        raise MissingPart(f"{path} is missing: copy the folder again, or write it again")
    found = checksum(path)
    if found != expected:
        raise DamagedPart(
            f"{path} is damaged or of another version ({found['bytes']} bytes, sha256 "
            f"{found['sha256'][:12]}…; expected {expected['bytes']}, "
            f"{expected['sha256'][:12]}…): copy the folder again, or write it again"
        )


def _ranker(
    folder: Path,
    manifest: dict[str, Any],
    catalogue: Catalogue,
    read: Callable[[Path], Ranker] | None,
) -> Ranker | None:
    if RANKER not in manifest["files"]:
        return None
    try:
        if read is not None:
            return read(folder / RANKER)
        return DINRanker.load(folder / RANKER, catalogue)
    except ValueError as error:
        raise MismatchedPart(str(error)) from error
