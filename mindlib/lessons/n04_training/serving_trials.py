"""Indexes on vectors that are made or trained here: recall, latency, and hits lost (§3.5, §5)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.planted import PlantedConfig, PlantedWorld, planted_interests
from mindlib.data.splits import Cases, Split, leave_last_out
from mindlib.evaluation import Estimate, compare, evaluate
from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.common.records import Point
from mindlib.models.mind import MIND, MINDConfig
from mindlib.retrieval import (
    ExactIndex,
    IndexRecommender,
    Recommendations,
    VectorIndex,
    catalogue,
    search,
)
from mindlib.retrieval.faiss import FaissConfig, FaissIndex, faiss
from mindlib.training import TrainingConfig, fit


@dataclass
class CountingIndex(ExactIndex):
    """An exact index that searches with each interest on its own and notes what reaches it.

    Attributes:
        queries: vectors in each call.
        widths: results asked for in each call.
    """

    items: Float[Tensor, "items dim"]
    ids: Int[Tensor, " items"]
    queries: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.items, self.ids, source="")

    best = VectorIndex.best

    def nearest(
        self, queries: Float[Tensor, "queries dim"], n: int, owners: Int[Tensor, " queries"]
    ) -> Recommendations:
        """See `VectorIndex.nearest`."""
        self.queries.append(len(queries))
        self.widths.append(n)
        return super().nearest(queries, n, owners)


class Served(NamedTuple):
    """A world, and a MIND that was trained in it.

    Attributes:
        world: 16 clusters of 250 items.
        split: each user's last event is the test.
        model: K = 5, d = 16.
    """

    world: PlantedWorld
    split: Split
    model: MIND


def served_model(*, users: int = 1500, epochs: int = 3) -> Served:
    """Train it."""
    config = PlantedConfig(
        num_users=users, num_clusters=16, items_per_cluster=250, num_segments=4, popularity=1.0
    )
    world = planted_interests(config, seed=0)
    split = leave_last_out(world.log)
    model = MIND(
        split.log,
        MINDConfig.paper(
            dim=16, hidden=(32,), history_length=60, routing=RoutingConfig.paper(max_interests=5)
        ),
        generator=torch.Generator().manual_seed(0),
    )
    training = TrainingConfig.paper(
        epochs=epochs, batch_size=256, negatives=512, learning_rate=2e-2, monitor="HitRate@50"
    )
    fit(model, split, training, device="cpu", progress=False)
    return Served(world, split, model)


CONFIGS = (
    FaissConfig(),
    FaissConfig("IVF64,Flat", nprobe=1),
    FaissConfig("IVF64,Flat", nprobe=16),
    FaissConfig("IVF64,PQ8x4", nprobe=16),
    FaissConfig("IVF64,PQ4x4", nprobe=16),
)


class Lost(NamedTuple):
    """What an index costs a model.

    Attributes:
        recall: the share of the exact lists' items that it finds.
        hit_rate: HitRate@N with it.
        change: of HitRate@N against the exact index, case by case.
    """

    name: str
    recall: float
    hit_rate: float
    change: Estimate


def lost(
    model: MIND, cases: Cases, configs: Sequence[FaissConfig] = CONFIGS, n: int = 50
) -> list[Lost]:
    """Recall and HitRate@n of some indexes of a model's catalogue."""
    items, ids = catalogue(model)

    def judge(index: VectorIndex) -> tuple[Recommendations, Float[Tensor, " cases"]]:
        recommender = IndexRecommender(model, index)
        hits = evaluate(recommender, cases, (n,)).values[f"HitRate@{n}"]
        return recommender.recommend(cases.histories, n), hits

    right, exact = judge(ExactIndex.build(items, ids))
    rows = []
    for config in configs:
        found, hits = judge(FaissIndex.build(items, ids, config))
        probes = f", nprobe {config.nprobe}" if "IVF" in config.factory else ""
        name = config.factory + probes
        rows.append(Lost(name, recall(found, right), float(hits.mean()), compare(hits, exact)))
    return rows


def recall(found: Recommendations, right: Recommendations) -> float:
    """The share of the right lists' items that were found."""
    same = (found.items[:, :, None] == right.items[:, None, :]) & (right.items > 0)[:, None, :]
    return float(same.any(1).sum() / (right.items > 0).sum())


@dataclass(frozen=True)
class Requests:
    """Users who ask an index one by one.

    Attributes:
        items: of the catalogue; ids are 1 and up.
        interests: of each user, seven of them.
        histories: one past a user.
        top: N.
    """

    items: Float[Tensor, "items dim"]
    interests: Float[Tensor, "users interests dim"]
    histories: list[Histories]
    top: int

    def measure(self, ways: Sequence[Way], exact: VectorIndex) -> list[Point]:
        """Recall, and the time of each request. All ways answer one user, then the next one:
        what else the machine does meets all."""
        shares, taken = (np.zeros((len(ways), len(self.histories))) for _ in range(2))
        for user, past in enumerate(self.histories):
            for number, way in enumerate(ways):
                active = torch.ones((1, way.interests), dtype=torch.bool)
                asked = self.interests[user : user + 1, : way.interests]
                if way.config is not None and isinstance(way.engine, FaissIndex):
                    way.engine.config = way.config
                started = time.perf_counter()
                found = search(way.engine, asked, active, self.top, histories=past)
                taken[number, user] = 1e3 * (time.perf_counter() - started)
                right = search(exact, asked, active, self.top, histories=past)
                shares[number, user] = recall(found, right)
        p50, p99 = np.percentile(taken, (50, 99), axis=1)
        return [
            Point(way.name, way.interests, float(share), float(a), float(b))
            for way, share, a, b in zip(ways, shares.mean(1), p50, p99, strict=True)
        ]


class Way(NamedTuple):
    """An index, how hard it searches, and with how many interests."""

    name: str
    engine: VectorIndex
    config: FaissConfig | None
    interests: int


def requests(
    *, num_items: int = 30_000, dim: int = 64, users: int = 60, top: int = 100, seed: int = 0
) -> Requests:
    """Items in clusters, and interests near the clusters' centres."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, dim, generator=generator) / dim**0.5

    centres = noise(200)
    items = centres[torch.randint(200, (num_items,), generator=generator)] + 1.5 * noise(num_items)
    liked = torch.randint(200, (users, 7), generator=generator)
    interests = centres[liked] + 1.5 * noise(users, 7)
    pasts = torch.randint(1, num_items + 1, (users, 50), generator=generator).tolist()
    return Requests(items, interests, [Histories.from_lists([past]) for past in pasts], top)


def curve(asked: Requests, *, interests: int = 5) -> tuple[list[Point], list[Point]]:
    """Recall against latency for `interests`, and an inverted file for K = 1 to 7.

    On one thread each, as a server that answers many users side by side.
    """
    threads = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    try:
        ids = torch.arange(1, len(asked.items) + 1)
        exact = ExactIndex.build(asked.items, ids)
        index = FaissIndex.build(asked.items, ids, FaissConfig("IVF256,Flat"))
        hard = [FaissConfig("IVF256,Flat", nprobe=n) for n in (4, 8, 16, 32, 64)]
        ways = [
            Way("exact", exact, None, interests),
            *(Way(f"nprobe {c.nprobe}", index, c, interests) for c in hard),
            *(Way("nprobe 16", index, hard[2], k) for k in range(1, 8)),
        ]
        points = asked.measure(ways, exact)
    finally:
        torch.set_num_threads(threads[0])
        faiss.omp_set_num_threads(threads[1])
    return points[:6], points[6:]
