"""The refresh of notebook 06: nights of a small shop, and versions that change under traffic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.interactions import Interactions
from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n06_online.days import iterate_days, spread_over_days
from mindlib.lessons.n06_online.refresh_week import FROZEN, Evening
from mindlib.models.mind import MINDConfig
from mindlib.online.refresh import (
    GateConfig,
    RefreshConfig,
    WarmStartConfig,
)
from mindlib.retrieval import ExactIndex, VectorIndex
from mindlib.training import TrainingConfig

WORLD = PlantedConfig(
    num_users=200, num_clusters=8, items_per_cluster=20, max_interests=2, events=(10, 20),
    num_segments=4,
)  # fmt: skip
FIRST = 7  # the day of the first evening
TRAINING = TrainingConfig.paper(
    epochs=6, batch_size=128, negatives=64, learning_rate=2e-2, monitor="Recall@10", patience=6
)
CONFIG = RefreshConfig(
    model=MINDConfig(
        dim=16, hidden=(16,), history_length=16, routing=RoutingConfig(max_interests=2)
    ),
    training=TRAINING,
    warm_start=WarmStartConfig(replace(TRAINING, epochs=2)),
    held_out=0.8,
    gate=GateConfig(cutoff=10, tolerance=0.3),
    category="department",
)


def evenings(count: int, *, seed: int = 0) -> list[Interactions]:
    """The shop's log as it stands on some evenings, one after another."""
    world = planted_interests(WORLD, seed=seed)
    log = spread_over_days(world.log, stable_days=FIRST, growing_days=count + 1, seed=seed)
    return [day.log for day in iterate_days(log, FIRST, FIRST + count - 1)]


def misnumbered(vectors: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> VectorIndex:
    """An index of an engine with a bug: every vector is under its neighbour's number."""
    index = ExactIndex.build(vectors, ids)
    index.ids = ids.roll(1)
    return index


class Asked(NamedTuple):
    """A request, by the same clock: when it began and ended, and which version answered."""

    began: float
    ended: float
    version: str


@dataclass(frozen=True)
class UnderTraffic:
    """What came of requests while something was done to the platform.

    Attributes:
        requests: in the order in which they began.
        before, after: when it was begun and done.
        errors: that a client has met.
    """

    requests: list[Asked]
    before: float
    after: float
    errors: list[str]

    def versions(self, *, old: bool) -> set[str]:
        """Who answered requests that had ended before, or else that began after."""
        return {
            r.version
            for r in self.requests
            if (r.ended < self.before if old else r.began > self.after)
        }


def under_traffic(
    ask: Callable[[str], str],
    users: Sequence[str],
    act: Callable[[], object],
    *,
    clients: int = 2,
    each: int = 30,
) -> UnderTraffic:
    """Do something while clients ask without a pause.

    Args:
        ask: for a user; the version that answered. Of any thread.
        act: begun when every client has had `each` answers; clients go on for as many after it.
    """
    found: list[Asked] = []
    errors: list[str] = []
    warm = [threading.Event() for _ in range(clients)]
    done = threading.Event()

    def client(number: int) -> None:
        count = left = 0
        try:
            while left < each:
                user = users[(number + clients * count) % len(users)]
                began = time.perf_counter()
                version = ask(user)
                found.append(Asked(began, time.perf_counter(), version))
                count += 1
                left += done.is_set()
                if count == each:
                    warm[number].set()
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
            warm[number].set()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for event in warm:
        event.wait()
    before = time.perf_counter()
    try:
        act()
    finally:
        after = time.perf_counter()
        done.set()
        for thread in threads:
            thread.join()
    return UnderTraffic(sorted(found), before, after, errors)


def folders(registry: Path) -> list[str]:
    """What lies in a registry's folder, as relative paths; versions without what is in them."""
    shown = [*registry.glob("*"), *registry.glob("versions/*"), *registry.glob("rejected/*")]
    return sorted(str(path.relative_to(registry)) + "/" * path.is_dir() for path in shown)


class Way(NamedTuple):
    """A way of refreshing, over the days after the first evening.

    Attributes:
        recall: the mean over the days.
        gain: over no refresh, the mean over the days.
        better, worse: the days on which the interval of the gain lies above 0, and below.
        seconds: of training, as a mean ratio to training from scratch.
    """

    recall: float
    gain: float
    better: int
    worse: int
    seconds: float


def ways(rows: Sequence[Evening]) -> dict[str, Way]:
    """The week's table, a row for each way."""
    names = dict.fromkeys(row.way for row in rows)
    found = {}
    for name in names:
        own = [row for row in rows if row.way == name and row.day > 0]
        found[name] = Way(
            sum(r.recall for r in own) / len(own),
            sum(r.gain for r in own) / len(own),
            sum(r.low > 0 for r in own),
            sum(r.high < 0 for r in own),
            0.0 if name == FROZEN else sum(r.seconds for r in own) / len(own),
        )
    return found
