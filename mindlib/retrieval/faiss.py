"""Approximate search with Faiss (https://github.com/facebookresearch/faiss)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss as untyped_faiss
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.retrieval import files
from mindlib.retrieval.index import check_items, check_known
from mindlib.retrieval.scores import Recommendations

faiss: Any = untyped_faiss  # what it has is not what its wrapper declares

# Up to here `FaissConfig.for_size` scores every item; beyond, the lists pay for themselves.
FLAT_UP_TO = 50_000
# Vectors that each centroid of an inverted file learns from.
POINTS_PER_CENTROID = 64
LARGEST_FP16 = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True)
class FaissConfig:
    """Which index Faiss builds, and how hard it searches.

    Attributes:
        factory: as `faiss.index_factory` reads it: "Flat" (exact), "HNSW32", "IVF4096,SQfp16",
            "IVF4096,PQ32x4fs,RFlat", …
        nprobe: the inverted lists that are scanned for each interest, on average (IVF). More are
            scanned where the n results asked for are so large a part of the catalogue that these
            might not hold four times n.
        ef_search: the candidates that a graph keeps (HNSW); at least n.
        refine: candidates a result whose scores are computed again in full ("…,RFlat").
        seed: draws the vectors that the centroids are learnt from.
    """

    factory: str = "Flat"
    nprobe: int = 64
    ef_search: int = 64
    refine: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("nprobe", "ef_search", "refine"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")

    @staticmethod
    def for_size(num_items: int) -> FaissConfig:
        """What benchmarks/serving.py found: recall .99 of N = 1,000 for K = 5, d = 64.

        Every item is scored in a small catalogue. A large one gets an inverted file of about
        4 √num_items lists with vectors in half precision, of which 5.5 √lists are scanned for each
        interest. (Smaller codes, PQ, lose more than they save; a graph is slower for lists as long
        as these. For less time and recall choose a smaller nprobe.)
        """
        if num_items <= FLAT_UP_TO:
            return FaissConfig()
        lists = 2 ** round(math.log2(4 * math.sqrt(num_items)))
        return FaissConfig(f"IVF{lists},SQfp16", nprobe=round(5.5 * math.sqrt(lists)))


class FaissIndex:
    """A `VectorIndex` that is one of Faiss's.

    An item that is removed is skipped by every search from then on; its vector stays in memory
    until the index is built again. (Of Faiss's own indexes not all can remove.)

    Args:
        engine: Faiss's index, trained, whose numbers 0, 1, … are places in `ids`.
        ids: the item at each place; 0 where it was removed.
        config: what it was built with.
    """

    def __init__(self, engine: Any, ids: Int[Tensor, " places"], config: FaissConfig) -> None:
        self.engine = engine
        self.config = config
        self._set_places(ids)

    @property
    def dim(self) -> int:
        """d."""
        return int(self.engine.d)

    def _set_places(self, places: Int[Tensor, " places"]) -> None:
        # All that depends on the places and not on the query, for searches have no time for it.
        held = places > 0
        self._places = places
        self.ids = places[held]
        # Faiss reads the bits while it searches: they have to live as long as the selector.
        self._bits = np.packbits(held.numpy(), bitorder="little")
        self._selector = None
        if not held.all():
            self._selector = faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))

    @classmethod
    def build(
        cls,
        items: Float[Tensor, "items dim"],
        ids: Int[Tensor, " items"],
        config: FaissConfig | None = None,
    ) -> FaissIndex:
        """See `VectorIndex.build`.

        Args:
            config: `FaissConfig.for_size` if it is not given.

        Raises:
            ValueError: as `VectorIndex.build`; or Faiss cannot make what the factory says of these
                items.
        """
        items, ids = check_items(items, ids)
        config = config or FaissConfig.for_size(len(items))
        _check_range(items, ids, config)
        try:
            dim = items.shape[1]
            engine = faiss.index_factory(dim, config.factory, faiss.METRIC_INNER_PRODUCT)
            index = cls(engine, ids.clone(), config)
            index._parameters(engine, 1)  # refuses what cannot be searched, before the long work
            if not engine.is_trained:
                engine.train(_sample(items, engine, config.seed).numpy())
            engine.add(items.numpy())
        except RuntimeError as error:
            raise ValueError(
                f"factory={config.factory!r}: Faiss cannot build it for {len(items)} items of "
                f"dimension {items.shape[1]} ({_cause(error)}); expected something like "
                f"{FaissConfig.for_size(len(items)).factory!r}"
            ) from error
        return index

    def add(self, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> None:
        """See `VectorIndex.add`. The centroids stay what they were."""
        items, ids = check_items(items, ids, dim=self.dim, known=self.ids)
        _check_range(items, ids, self.config)
        self.engine.add(items.numpy())
        self._set_places(torch.cat([self._places, ids]))

    def remove(self, ids: Int[Tensor, " items"]) -> None:
        """See `VectorIndex.remove`."""
        removed = torch.isin(self._places, check_known(ids, self.ids))
        self._set_places(self._places.masked_fill(removed, 0))

    def nearest(
        self,
        queries: Float[Tensor, "queries dim"],
        n: int,
        owners: Int[Tensor, " queries"] | None = None,
    ) -> Recommendations:
        """See `VectorIndex.nearest`. Owners matter to an inverted file only: see `_probes`."""
        vectors = queries.contiguous().numpy()
        if owners is not None and isinstance(self.engine, faiss.IndexIVF):
            lists, coarse = self._probes(vectors, n, owners)
            parameters = faiss.SearchParametersIVF(sel=self._selector, nprobe=lists.shape[1])
            scores = np.empty((len(vectors), n), dtype=np.float32)
            places = np.empty((len(vectors), n), dtype=np.int64)
            # Its wrapper for Python takes no parameters, hence the call with addresses of arrays.
            given = [faiss.swig_ptr(array) for array in (vectors, lists, coarse, scores, places)]
            self.engine.search_preassigned_c(
                len(vectors), given[0], n, *given[1:], False, parameters
            )
        else:
            parameters = self._parameters(self.engine, n)
            scores, places = self.engine.search(vectors, n, params=parameters)
        found = torch.from_numpy(places)
        missing = found < 0
        items = self._places[found.clamp(min=0)].masked_fill(missing, 0)
        return Recommendations(items, torch.from_numpy(scores).masked_fill(missing, -torch.inf))

    def _nprobe(self, engine: Any, n: int) -> int:
        """The inverted lists that a query is worth."""
        wanted = math.ceil(4 * n * engine.nlist / len(self._places))
        return min(max(self.config.nprobe, wanted), engine.nlist)

    def _probes(
        self, queries: Float[np.ndarray, "queries dim"], n: int, owners: Int[Tensor, " queries"]
    ) -> tuple[Int[np.ndarray, "queries lists"], Float[np.ndarray, "queries lists"]]:
        """The inverted lists to scan for each query, -1 where there is none, and their scores.

        An owner's lists are merged by the best score (Eq. 3), and most of what is left is often one
        interest's. So her queries compete: of all pairs of a query and a list, those with the
        largest inner products of query and centroid are scanned, nprobe for each query she has.
        """
        nprobe = self._nprobe(self.engine, n)
        # At most four times its share for a query.
        wide = min(4 * nprobe, self.engine.nlist)
        coarse, lists = self.engine.quantizer.search(queries, wide)
        if wide == nprobe:
            return lists, coarse
        _, row, count = owners.unique_consecutive(return_inverse=True, return_counts=True)
        column = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
        scores = torch.full((len(count), int(count.max()), wide), -torch.inf)
        scores[row, column] = torch.from_numpy(coarse)
        ranked = scores.flatten(1).sort(1, descending=True).values
        last = ranked.gather(1, nprobe * count[:, None] - 1)
        beaten = torch.from_numpy(coarse) < last[row]
        # Best first in each row: what is beaten stands at the end.
        width = int((~beaten).sum(1).max())
        lists[beaten.numpy()] = -1
        return np.ascontiguousarray(lists[:, :width]), np.ascontiguousarray(coarse[:, :width])

    def _parameters(self, engine: Any, n: int) -> Any:
        """How this index, and what it is wrapped around, is to search for n results."""
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
            return faiss.SearchParametersIVF(sel=self._selector, nprobe=self._nprobe(engine, n))
        if isinstance(engine, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(
                sel=self._selector, efSearch=max(self.config.ef_search, n)
            )
        if not isinstance(engine, faiss.IndexFlat | faiss.IndexScalarQuantizer):
            raise ValueError(
                f"factory={self.config.factory!r}: Faiss's {type(engine).__name__} cannot skip "
                f'removed items; expected "Flat", "SQ…", "HNSW…" or "IVF…" (before it PCA or OPQ, '
                f"after it a refinement)"
            )
        return faiss.SearchParameters(sel=self._selector)

    def save(self, path: str | Path) -> None:
        """See `VectorIndex.save`."""
        engine = torch.from_numpy(faiss.serialize_index(self.engine))
        stored = files.Stored(
            type(self).__name__, self.dim, self._places, {"engine": engine}, asdict(self.config)
        )
        files.write(path, stored)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        dim: int | None = None,
        ids: Int[Tensor, " items"] | None = None,
    ) -> FaissIndex:
        """See `VectorIndex.load`."""
        stored = files.read(path, cls.__name__, dim=dim, ids=ids)
        engine = faiss.deserialize_index(stored.tensors["engine"].numpy())
        return cls(engine, stored.ids, FaissConfig(**stored.settings))


def _sample(
    items: Float[Tensor, "items dim"], engine: Any, seed: int
) -> Float[Tensor, "sample dim"]:
    """The vectors to train on: enough for the centroids, and for the codes behind them."""
    inverted = faiss.try_extract_index_ivf(engine)
    centroids = max(256, inverted.nlist if inverted is not None else 0)
    wanted = POINTS_PER_CENTROID * centroids
    if len(items) <= wanted:
        return items
    generator = torch.Generator().manual_seed(seed)
    return items[torch.randperm(len(items), generator=generator)[:wanted]]


def _check_range(
    items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"], config: FaissConfig
) -> None:
    if "fp16" not in config.factory:
        return
    if len(too_large := ids[(items.abs() > LARGEST_FP16).any(1)]):
        raise ValueError(
            f"the vector of item {int(too_large[0])} has a number beyond {LARGEST_FP16:g}, the "
            f"largest in half precision; choose a factory without fp16 ({config.factory!r})"
        )


def _cause(error: RuntimeError) -> str:
    """Faiss's message without the place in its source."""
    return str(error).rpartition(": ")[2].strip()
