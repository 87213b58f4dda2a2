"""One version of the platform: everything that a slate is computed from, in a folder that never
changes.

- `manifest.json`: the format, the version, and a checksum of every part.
- `model/`: the exported extractor (`mindlib.online.export`), item vectors and catalogue.
- `index.safetensors`: the index of these item vectors.
- `popularity.npy`: the number of interactions of each item, for users without known behaviors.
- `item_metadata.json`: the title of each item, and its category for re-ranking.
- `ranker.safetensors`: the ranker, optional. Without it, the order of recall is final.

A folder appears whole or not at all.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions
from mindlib.models.popularity import Popularity
from mindlib.models.vector_model import VectorModel
from mindlib.online.artifacts import (
    MANIFEST,
    ArtifactError,
    ArtifactFormat,
    new_folder,
    read_manifest,
    write_manifest,
)
from mindlib.online.exported import ExportedModel
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.serving.stages import NO_INTEREST, Candidates
from mindlib.retrieval import (
    Engine,
    InterestModel,
    VectorIndex,
    catalogue,
    load_index,
    search,
    write_index,
)

MODEL, INDEX, RANKER = "model", "index.safetensors", "ranker.safetensors"
POPULARITY, METADATA = "popularity.npy", "item_metadata.json"
MODEL_MANIFEST = f"{MODEL}/{MANIFEST}"  # has the checksums of the model's files
PARTS = (MODEL_MANIFEST, INDEX, POPULARITY, METADATA)
FORMAT = ArtifactFormat("bundle", 3, "Bundle.write")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Bundle:
    """A loaded version. It is immutable: a platform replaces it as a whole.

    Attributes:
        version: the name, in every slate.
        catalogue: the mapping from original ids and profile values to numbers.
        counts: the number of interactions of each item; entry 0 is padding.
        titles: the title of each item; entry 0 is empty.
        categories: the code of each item's category; 0 is unknown, and entry 0 is padding.
        ranker: None: the order of recall is final.
    """

    version: str
    catalogue: Catalogue
    model: InterestModel
    index: VectorIndex
    counts: Int[np.ndarray, " items"]
    titles: tuple[str, ...]
    categories: Int[np.ndarray, " items"]
    ranker: DINRanker | None = None

    def extract(
        self, behaviors: Int[np.ndarray, " length"], profile: Int[np.ndarray, " fields"]
    ) -> Float[Tensor, "interests dim"]:
        """Return V_u (Eq. 1): the vectors of the user's active interests, at least one.

        Args:
            behaviors: the items, oldest first; empty if only the profile is known.
            profile: the code of each profile field, 0 if it is unknown.
        """
        profiles = [profile.tolist()] if len(profile) else None
        vectors, active = self.model.interests(Histories.from_lists([behaviors.tolist()], profiles))
        return vectors[active]

    def recall(
        self, interests: Float[Tensor, "interests dim"], history: Int[np.ndarray, " items"], n: int
    ) -> Candidates:
        """Return the n items with the best score of any interest (Eq. 3), without the history."""
        histories = Histories.from_lists([history.tolist()])
        is_active = torch.ones((1, len(interests)), dtype=torch.bool)
        n = min(n, len(self.catalogue))
        found = search(self.index, interests[None], is_active, n, histories=histories)
        is_item = found.items[0] > 0
        items, scores = found.items[0, is_item], found.scores[0, is_item]
        # The merged score belongs to the interest with the largest inner product.
        best = (self.model.item_vectors()[items] @ interests.T).argmax(1)
        return Candidates(items.numpy(), scores.numpy(), best.numpy())

    def recall_popular(self, history: Int[np.ndarray, " items"], n: int) -> Candidates:
        """Return the n most frequent items without the history; their scores are the counts."""
        histories = Histories.from_lists([history.tolist()])
        found = Popularity(self.counts).recommend(histories, min(n, len(self.catalogue)))
        is_item = found.items[0] > 0
        items, scores = found.items[0, is_item].numpy(), found.scores[0, is_item].numpy()
        return Candidates(items, scores, np.full(len(items), NO_INTEREST, dtype=np.int64))

    @staticmethod
    def write(
        folder: str | Path,
        *,
        version: str,
        model: VectorModel,
        log: Interactions,
        counts: Int[np.ndarray, " items"],
        ranker: DINRanker | None = None,
        category: str | None = None,
        index: Engine = "exact",
    ) -> Path:
        """Export a model, index its items, and write both with the other parts into a new folder.

        Args:
            version: letters, digits, dots and dashes, 64 at most.
            model: on the CPU.
            log: the log that the model and the ranker were trained with.
            counts: the number of training interactions of each item: `Split.train_counts`.
            category: the item field for re-ranking; None: categories are not limited.
            index: the engine, as `mindlib.retrieval.engines` describes it: "exact", "faiss",
                "milvus:items.db" (embedded in this folder), "milvus:http://localhost:19530", or a
                function such as `FaissIndex.build`. Deleting the folder of a version does not
                delete a collection outside it.

        Raises:
            FileExistsError: `folder` exists.
            ImportError: the packages of the extra "export", or of the engine, are not installed.
            OSError: the folder cannot be written, or Milvus does not answer; nothing remains of it.
            ValueError: the parts do not belong together, or the model is not finite.
        """
        from mindlib.online.export import export  # the exporter, which a server does not need

        folder = Path(folder).expanduser()
        _check(version, log, counts)
        titles = ["", *(log.label(item) for item in range(1, log.num_items + 1))]
        unknown = np.zeros(log.num_items + 1, dtype=np.int64)
        categories = log.item_categories(category) if category else unknown
        with new_folder(folder, FORMAT) as partial:
            exported = ExportedModel.load(export(model, log, partial / MODEL))
            write_index(partial / INDEX, index, *catalogue(exported))
            np.save(partial / POPULARITY, counts)
            metadata = {"titles": titles, "categories": categories.tolist()}
            (partial / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
            if ranker is not None:
                ranker.save(partial / RANKER)
            facts = {"version": version, "catalogue": exported.catalogue.fingerprint}
            write_manifest(partial, FORMAT, (*PARTS, *([RANKER] if ranker else [])), facts)
        return folder

    @staticmethod
    def load(folder: str | Path) -> Bundle:
        """Load a version after comparing every byte of it with its checksums.

        Raises:
            ImportError: ONNX Runtime, or the engine of the index, is not installed.
            ArtifactError: the folder cannot be served.
        """
        folder = Path(folder).expanduser()
        manifest = read_manifest(folder, FORMAT)
        model, ranker = ExportedModel.load(folder / MODEL), None
        try:
            index = load_index(folder / INDEX, built_from=catalogue(model))
            if RANKER in manifest["files"]:
                ranker = DINRanker.load(folder / RANKER, model.catalogue)
        except (ConnectionError, ValueError) as error:  # Milvus, or of another catalogue
            raise ArtifactError(str(error)) from error
        counts = np.load(folder / POPULARITY)
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        return Bundle(
            version=manifest["version"],
            catalogue=model.catalogue,
            model=model,
            index=index,
            counts=counts,
            titles=tuple(metadata["titles"]),
            categories=np.array(metadata["categories"], dtype=np.int64),
            ranker=ranker,
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
