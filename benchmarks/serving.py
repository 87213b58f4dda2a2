"""Measure the recall of an index against the exact top N, and the latency of one request.

    python benchmarks/serving.py [--items N ...] [--requests R] [--quick]

One request is one user: K interests, a history of 50 items to leave out, N = 1,000 results, on one
core. The time is that of `mindlib.retrieval.search` (the engine, the exclusion and the merge)
without the model. Recall is the share of the exact list of `ExactIndex`. The baseline, on the same
core in the same run, scores all items by torch and takes the maximum over the interests and
`torch.topk`.

The vectors are synthetic (`SyntheticCatalogue`). Indexes are cached in build/bench. The results are
written to build/bench/serving.json (with --quick, a smoke test, to serving-quick.json).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data import Histories
from mindlib.data.storage import atomic_file
from mindlib.retrieval import ExactIndex, Recommendations, VectorIndex, load_index, search
from mindlib.retrieval.faiss import FaissConfig, FaissIndex
from mindlib.retrieval.index import FORMAT

BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"
TOP = 1000
INTERESTS = 5
MAX_INTERESTS = 7
HISTORY = 50
WARM_UP = 10
TARGET_RECALL, TARGET_MILLISECONDS = 0.999, 6.0


@dataclass(frozen=True)
class SyntheticCatalogue:
    """Random item and interest vectors with the statistics of a trained model.

    The constants give 17,141 items the statistics of MIND (d = 64, K = 4) trained on The Complete
    Journey. In brackets are the values of MIND and of this generator: participation ratio of the
    covariance of unit vectors (26, 28), cosine with the ten nearest items (.80, .80), norm of the
    mean unit item (.44, .45), cosine between a user's interests (.44, .43), cosine of an interest
    with its ten best items (.55, .57), and the share of a user's top 100 that belongs to the first,
    second, … interest (.66 .25 .08 .02, .73 .21 .05 .01). The variances of the dimensions follow a
    power law. The items are 1.5 √n clusters of random sizes around one common direction; an
    interest is the sum of a cluster's center, another common direction and noise. The recall of an
    inverted file is lower on these vectors than on MIND's, because noise has no structure.

    Attributes:
        num_items: n.
        dim: d.
        users: the number of different requests.
        seed: of all random numbers.
    """

    num_items: int
    dim: int = 64
    users: int = 200
    seed: int = 0

    def sample(self) -> tuple[Float[Tensor, "items dim"], Float[Tensor, "users interests dim"]]:
        """Return the item vectors, and `MAX_INTERESTS` interests for each user."""
        generator = torch.Generator().manual_seed(self.seed)

        def noise(*shape: int) -> Tensor:
            return torch.randn(*shape, self.dim, generator=generator) * scale

        def stretch(*shape: int, deviation: float) -> Tensor:
            return 1 + deviation * torch.randn(*shape, 1, generator=generator)

        scale = torch.arange(1, self.dim + 1).float() ** -0.37
        scale /= scale.norm()
        common = torch.linalg.qr(torch.randn(self.dim, 2, generator=generator)).Q.T
        centers = noise(int(1.5 * self.num_items**0.5))
        of_item = torch.randint(len(centers), (self.num_items,), generator=generator)
        items = 0.44 * common[0] + 0.9 * (0.8 * centers[of_item] + 0.6 * noise(self.num_items))
        items *= stretch(self.num_items, deviation=0.09)
        shape = (self.users, MAX_INTERESTS)
        liked = of_item[torch.randint(self.num_items, shape, generator=generator)]
        towards = 1.3 * (0.5 * common[0] + 0.87 * common[1])
        interests = towards + 0.6 * centers[liked] + 1.4 * noise(*shape)
        interests = 9.3 * torch.nn.functional.normalize(interests, dim=2)
        return items, interests * stretch(*shape, deviation=0.14)


@dataclass(frozen=True)
class Row:
    """One measured point: an index, its recall and its latency.

    Attributes:
        num_items, interests, top: n, K, N.
        index: "torch.topk", "ExactIndex", or Faiss's factory string.
        search: the settings of the search ("nprobe=64").
        recall: the share of the exact top N, the mean over the requests.
        p50, p99: milliseconds for a request.
        ratio: p50 of the baseline over this p50.
        build_seconds: 0 if the index is from the cache.
        default: whether it is the default of mindlib, `ExactIndex`.
    """

    num_items: int
    interests: int
    top: int
    index: str
    search: str
    recall: float
    p50: float
    p99: float
    ratio: float
    build_seconds: float
    default: bool


Answer = Callable[[int], Recommendations]


class Requests:
    """The requests of a benchmark.

    Args:
        catalogue: the items to search, and the users.
        requests: the number of requests that are timed.
        top: N.
    """

    def __init__(self, catalogue: SyntheticCatalogue, requests: int, top: int) -> None:
        self.items, self.interests = catalogue.sample()
        self.ids = torch.arange(1, catalogue.num_items + 1)
        self.requests = min(requests, catalogue.users)
        self.top = top
        rng = np.random.default_rng(catalogue.seed)
        histories = rng.integers(1, catalogue.num_items + 1, (catalogue.users, HISTORY))
        self.histories = [Histories.from_lists([history]) for history in histories.tolist()]

    def answer_naively(self, interests: int) -> Answer:
        """Return the baseline: score all items, take the maximum over the interests and topk."""

        def answer(user: int) -> Recommendations:
            scores = (self.interests[user, :interests] @ self.items.T).amax(0)
            scores[self.histories[user].items - 1] = -torch.inf
            best = scores.topk(self.top)
            return Recommendations(best.indices[None] + 1, best.values[None])

        return answer

    def answer_with(self, index: VectorIndex, interests: int) -> Answer:
        """Return the search with K interests in an index."""
        active = torch.ones((1, interests), dtype=torch.bool)

        def answer(user: int) -> Recommendations:
            vectors = self.interests[user : user + 1, :interests]
            return search(index, vectors, active, self.top, histories=self.histories[user])

        return answer

    def time(self, answer: Answer) -> tuple[list[Recommendations], Float[np.ndarray, " requests"]]:
        """Return the answers, and the milliseconds of each."""
        for user in range(min(WARM_UP, self.requests)):
            answer(user)
        answers, seconds = [], []
        for user in range(self.requests):
            start = time.perf_counter()
            answers.append(answer(user))
            seconds.append(time.perf_counter() - start)
        return answers, 1e3 * np.array(seconds)


def recall(retrieved: Sequence[Recommendations], exact: Sequence[Recommendations]) -> float:
    """Return the share of the exact lists' items that were retrieved."""
    shares = [
        torch.isin(a.items[a.items > 0], b.items).sum() / b.items.numel()
        for a, b in zip(retrieved, exact, strict=True)
    ]
    return float(torch.stack(shares).mean())


def candidates(num_items: int) -> Iterator[FaissConfig]:
    """Yield Faiss's indexes to compare: its default first, then other settings and other kinds."""
    yield FaissConfig.for_size(num_items)
    lists = 2 ** round(np.log2(4 * num_items**0.5))
    shares = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
    for factory in (f"IVF{lists},SQfp16", f"IVF{lists},PQ64x4fs,Refine(SQfp16)"):
        for share in shares:
            yield FaissConfig(factory, nprobe=max(1, round(share * lists)), refine=1.5)
    for candidates_kept in (TOP, 2 * TOP, 4 * TOP):
        yield FaissConfig("HNSW32", ef_search=candidates_kept)


def curve(
    num_items: int,
    *,
    requests: int = 200,
    top: int = TOP,
    interests: int = INTERESTS,
    configs: Sequence[FaissConfig] | None = None,
) -> list[Row]:
    """Measure recall and latency on one size of catalogue: baseline, exact search, each index.

    The last rows are the default index for K = 1 to 7.

    Args:
        configs: the indexes to compare; None for `candidates`.
    """
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    catalogue = SyntheticCatalogue(num_items)
    requested = Requests(catalogue, requests, top)
    naive: dict[int, float] = {}
    exact: dict[int, list[Recommendations]] = {}
    rows = []

    def measure(
        name: str, how: str, answer: Answer, k: int, *, seconds: float = 0.0, is_default=False
    ) -> None:
        answers, milliseconds = requested.time(answer)
        p50, p99 = np.percentile(milliseconds, (50, 99))
        naive.setdefault(k, p50)  # the first row of each K is the baseline
        exact.setdefault(k, answers)
        share, ratio = recall(answers, exact[k]), naive[k] / p50
        row = Row(num_items, k, top, name, how, share, p50, p99, ratio, seconds, is_default)
        rows.append(row)
        print(line(row), flush=True)

    measure("torch.topk", "", requested.answer_naively(interests), interests)
    exact_index = ExactIndex.build(requested.items, requested.ids)
    measure(
        "ExactIndex", "", requested.answer_with(exact_index, interests), interests, is_default=True
    )
    built: dict[str, tuple[FaissIndex, float]] = {}
    for config in dict.fromkeys(configs or candidates(num_items)):
        if config.factory not in built:
            built.clear()  # one index in memory at a time
            built[config.factory] = cached(catalogue, requested, config)
        index, seconds = built[config.factory]
        index.config = config
        how = settings_of(config)
        measure(
            config.factory,
            how,
            requested.answer_with(index, interests),
            interests,
            seconds=seconds,
        )
    for k in range(1, MAX_INTERESTS + 1):
        if k != interests:
            measure("torch.topk", "", requested.answer_naively(k), k)
            measure("ExactIndex", "", requested.answer_with(exact_index, k), k, is_default=True)
    return rows


def cached(
    catalogue: SyntheticCatalogue, requests: Requests, config: FaissConfig
) -> tuple[FaissIndex, float]:
    """Return an index and the seconds of its build, which are 0 if it is from the cache."""
    key = json.dumps([FORMAT, asdict(catalogue), config.factory])
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    path = BUILD / f"serving-{catalogue.num_items}-{digest}.index"
    if path.is_file():
        index = load_index(path)
        assert isinstance(index, FaissIndex)
        index.config = config
        return index, 0.0
    start = time.perf_counter()
    index = FaissIndex.build(requests.items, requests.ids, config)
    seconds = time.perf_counter() - start
    BUILD.mkdir(parents=True, exist_ok=True)
    index.save(path)
    return index, seconds


def settings_of(config: FaissConfig) -> str:
    """Return the settings of the search that apply to this kind of index."""
    parts = []
    if "HNSW" in config.factory:
        parts.append(f"ef={config.ef_search}")
    if "IVF" in config.factory:
        parts.append(f"nprobe={config.nprobe}")
    if "R" in config.factory.rpartition(",")[2]:
        parts.append(f"refine={config.refine:g}")
    return " ".join(parts)


HEAD = (
    f"{'items':>9} {'K':>2}  {'index':<36} {'search':<22} "
    f"{'recall':>7} {'p50 ms':>8} {'p99 ms':>8} {'naive / it':>10}"
)


def line(row: Row) -> str:
    """Format a row of the printed table; * marks the default."""
    name = f"{row.index}{' *' if row.default else ''}"
    return (
        f"{row.num_items:>9,} {row.interests:>2}  {name:<36} {row.search:<22} "
        f"{row.recall:>7.4f} {row.p50:>8.2f} {row.p99:>8.2f} {row.ratio:>10.2f}"
    )


def machine() -> dict[str, Any]:
    """Describe the machine and the versions."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "faiss": faiss.__version__,
    }


def main() -> None:
    """Run the command line that the module's docstring describes."""
    parser = argparse.ArgumentParser(description="Recall and latency of the indexes.")
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--requests", type=int, default=200, help="timed for each row")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    arguments = parser.parse_args()
    result = machine()
    if result["load"][0] > 0.5:
        print(f"other programs run (load {result['load'][0]:.1f}): the times are not reliable")
    print(HEAD)
    rows: list[Row] = []
    if arguments.quick:
        configs = [FaissConfig(), FaissConfig("IVF64,SQfp16", nprobe=16), FaissConfig("HNSW16")]
        rows += curve(4000, requests=5, top=100, configs=configs)
    else:
        for num_items in arguments.items:
            rows += curve(num_items, requests=arguments.requests)
    path = BUILD / ("serving-quick.json" if arguments.quick else "serving.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(result | {"rows": [asdict(row) for row in rows]}, indent=1))
    for num_items in sorted({row.num_items for row in rows}):
        reached = [
            row
            for row in rows
            if (row.num_items, row.interests) == (num_items, INTERESTS)
            and row.recall >= TARGET_RECALL
            and row.p99 < TARGET_MILLISECONDS
        ]
        best = min(reached, key=lambda row: row.p99, default=None)
        outcome = f"reached, best by {best.index} {best.search}".strip() if best else "not reached"
        target = f"recall >= {TARGET_RECALL} at p99 < {TARGET_MILLISECONDS} ms"
        print(f"{num_items:,} items: {target}: {outcome}")
    print(path)


if __name__ == "__main__":
    main()
