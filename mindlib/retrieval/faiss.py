"""Approximate search with Faiss (https://github.com/facebookresearch/faiss)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import faiss as untyped_faiss
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.option_types import AT_LEAST_1, ITEMS, Options
from mindlib.data.tensor_file import TensorFile
from mindlib.retrieval.index import VectorIndex, check_vectors, digest_items
from mindlib.retrieval.scores import Recommendations

faiss: Any = untyped_faiss  # the declared types of its wrapper are incomplete

MAX_FLAT_ITEMS = 50_000  # in a larger catalogue, `FaissConfig.for_size` does not score every item


@dataclass(frozen=True)
class FaissConfig(Options):
    """The index that Faiss builds, and the effort of its searches.

    Attributes:
        factory: the argument of `faiss.index_factory`: "Flat" (exact), "HNSW32",
            "IVF4096,SQfp16", "IVF4096,PQ32x4fs,RFlat", …
        nprobe: inverted lists scanned for each interest, on average (IVF). If these are expected to
            hold fewer than 4 n items, enough lists for 4 n items are scanned instead.
        ef_search: candidates that a graph search keeps (HNSW); at least n.
        refine: candidates for each result whose scores are computed again in full precision
            ("…,RFlat").
    """

    factory: str = "Flat"
    nprobe: Annotated[int, AT_LEAST_1] = 64
    ef_search: Annotated[int, ITEMS] = 64
    refine: Annotated[float, ITEMS] = 2.0

    @staticmethod
    def for_size(num_items: int) -> FaissConfig:
        """Return a configuration with a recall of .99 at N = 1,000, K = 5, d = 64.

        Every item of a small catalogue is scored. A large one gets an inverted file of about
        4 √num_items lists in half precision, of which 5.5 √lists are scanned for each interest.
        benchmarks/serving.py measured it: product quantization loses more recall than it saves
        time, and a graph is slower for such long lists. A smaller nprobe trades recall for time.
        """
        if num_items <= MAX_FLAT_ITEMS:
            return FaissConfig()
        lists = 2 ** round(math.log2(4 * math.sqrt(num_items)))
        return FaissConfig(f"IVF{lists},SQfp16", nprobe=round(5.5 * math.sqrt(lists)))


@dataclass(eq=False)
class FaissIndex(VectorIndex):
    """An index that Faiss builds and searches.

    Attributes:
        engine: a trained index of Faiss, which numbers the items 0, 1, … in the order of `ids`.
        config: the configuration with which it was built.
    """

    engine: Any
    config: FaissConfig

    @classmethod
    def build(
        cls,
        items: Float[Tensor, "items dim"],
        ids: Int[Tensor, " items"],
        config: FaissConfig | None = None,
    ) -> FaissIndex:
        """See `VectorIndex.build`. The default configuration is that of `FaissConfig.for_size`.

        Raises:
            ValueError: as `VectorIndex.build`, a number exceeds the factory's half precision, or
                Faiss cannot build what the factory describes from these items.
        """
        items, ids = check_vectors(items, ids)
        default = FaissConfig.for_size(len(items))
        config = config or default
        largest = torch.finfo(torch.float16).max
        if "fp16" in config.factory and (is_larger := (items.abs() > largest).any(1)).any():
            raise ValueError(
                f"the vector of item {int(ids[is_larger][0])} has a number beyond {largest:g}, the "
                f"largest in half precision; choose a factory without fp16 ({config.factory!r})"
            )
        try:
            engine = faiss.index_factory(items.shape[1], config.factory, faiss.METRIC_INNER_PRODUCT)
            if not engine.is_trained:
                engine.train(_sample(items, engine).numpy())
            engine.add(items.numpy())
        except RuntimeError as error:
            cause = str(error).rpartition(": ")[2].strip()  # without the position in Faiss's source
            raise ValueError(
                f"factory={config.factory!r}: Faiss cannot build it for {len(items)} items of "
                f"dimension {items.shape[1]} ({cause}); expected something like {default.factory!r}"
            ) from error
        return cls(ids.clone(), items.shape[1], digest_items(items, ids), engine, config)

    def nearest(
        self, queries: Float[Tensor, "queries dim"], n: int, owners: Int[Tensor, " queries"]
    ) -> Recommendations:
        """See `VectorIndex.nearest`. Only an inverted file uses the owners: see `_probes`."""
        vectors = queries.contiguous().numpy()
        if isinstance(self.engine, faiss.IndexIVF):
            lists, coarse = self._probes(vectors, n, owners)
            parameters = faiss.SearchParametersIVF(nprobe=lists.shape[1])
            scores = np.empty((len(vectors), n), dtype=np.float32)
            positions = np.empty((len(vectors), n), dtype=np.int64)
            # The Python wrapper takes no parameters, so this calls the function that it wraps.
            arrays = (vectors, lists, coarse, scores, positions)
            pointers = [faiss.swig_ptr(array) for array in arrays]
            self.engine.search_preassigned_c(
                len(vectors), pointers[0], n, *pointers[1:], False, parameters
            )
        else:
            parameters = self._parameters(self.engine, n)
            scores, positions = self.engine.search(vectors, n, params=parameters)
        retrieved = torch.from_numpy(positions)
        missing = retrieved < 0
        items = self.ids[retrieved.clamp(min=0)].masked_fill(missing, 0)
        return Recommendations(items, torch.from_numpy(scores).masked_fill(missing, -torch.inf))

    def _nprobe(self, engine: Any, n: int) -> int:
        """Return how many inverted lists to scan for each query."""
        enough = math.ceil(4 * n * engine.nlist / len(self.ids))
        return min(max(self.config.nprobe, enough), engine.nlist)

    def _probes(
        self, queries: Float[np.ndarray, "queries dim"], n: int, owners: Int[Tensor, " queries"]
    ) -> tuple[Int[np.ndarray, "queries lists"], Float[np.ndarray, "queries lists"]]:
        """Return the inverted lists to scan for each query, padded with -1, and their scores.

        The lists of one owner are merged by the best score (Eq. 3), and one interest often
        contributes most of the result. So the queries of an owner compete: of all pairs of a query
        and an inverted list, those with the largest inner products of query and centroid are
        scanned, on average nprobe for each query.
        """
        nprobe = self._nprobe(self.engine, n)
        wide = min(4 * nprobe, self.engine.nlist)  # one query scans at most 4 times the average
        coarse, lists = self.engine.quantizer.search(queries, wide)
        _, row, count = owners.unique_consecutive(return_inverse=True, return_counts=True)
        column = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
        scores = torch.full((len(count), int(count.max()), wide), -torch.inf)
        scores[row, column] = torch.from_numpy(coarse)
        ranked = scores.flatten(1).sort(1, descending=True).values
        last = ranked.gather(1, nprobe * count[:, None] - 1)
        skipped = torch.from_numpy(coarse) < last[row]
        # Each row is in descending order, so the skipped lists are at its end.
        width = int((~skipped).sum(1).max())
        lists[skipped.numpy()] = -1
        return np.ascontiguousarray(lists[:, :width]), np.ascontiguousarray(coarse[:, :width])

    def _parameters(self, engine: Any, n: int) -> Any:
        """Return the search parameters of an index, and of those inside it, for n results."""
        if isinstance(engine, faiss.IndexPreTransform):
            inner = self._parameters(faiss.downcast_index(engine.index), n)
            return faiss.SearchParametersPreTransform(index_params=inner)
        if isinstance(engine, faiss.IndexRefine):
            candidates = math.ceil(n * self.config.refine)
            inner = self._parameters(faiss.downcast_index(engine.base_index), candidates)
            return faiss.IndexRefineSearchParameters(
                k_factor=self.config.refine, base_index_params=inner
            )
        if isinstance(engine, faiss.IndexIVF):
            return faiss.SearchParametersIVF(nprobe=self._nprobe(engine, n))
        if isinstance(engine, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(self.config.ef_search, n))
        return None

    def _state(self, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"engine": torch.from_numpy(faiss.serialize_index(self.engine))}, asdict(self.config)

    @classmethod
    def _restore(cls, content: TensorFile, folder: Path) -> FaissIndex:
        tensors, facts = content
        engine = faiss.deserialize_index(tensors["engine"].numpy())
        config = FaissConfig(**facts["settings"])
        return cls(tensors["ids"], facts["dim"], facts["source"], engine, config)


def _sample(items: Float[Tensor, "items dim"], engine: Any) -> Float[Tensor, "sample dim"]:
    """Return a random sample that suffices to train the centroids and the quantizer."""
    inverted = faiss.try_extract_index_ivf(engine)
    size = 64 * max(256, inverted.nlist if inverted is not None else 0)  # 64 for each centroid
    if len(items) <= size:
        return items
    return items[torch.randperm(len(items), generator=torch.Generator().manual_seed(0))[:size]]
