"""Ways to disturb a platform on purpose, and to speak to one over HTTP (notebook 06)."""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvicorn
from jaxtyping import Float, Int

from mindlib.data.catalogue import ItemId
from mindlib.data.interactions import Interactions
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.config import PlatformConfig
from mindlib.online.serving.database import StoreError
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.server import HOST, server_config
from mindlib.online.serving.stages import Candidates, Ranker, Reranker
from mindlib.online.serving.store import BehaviorStore, SqliteStore

STARTS_WITHIN = 30.0


@dataclass(frozen=True)
class Failing:
    """A `Ranker` that is down."""

    def score(
        self, behavior_items: Int[np.ndarray, " length"], candidates: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """Raises ConnectionError."""
        raise ConnectionError("the ranking service does not answer")

    def save(self, path: str | Path) -> None:
        """There is nothing to keep."""


@dataclass(frozen=True)
class Held:
    """A `Ranker` that answers only when it is let go.

    Attributes:
        inner: answers then.
        begun: set when a request has arrived.
        released: set by whoever lets it go.
    """

    inner: Ranker
    begun: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def score(
        self, behavior_items: Int[np.ndarray, " length"], candidates: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """See `Ranker.score`."""
        self.begun.set()
        self.released.wait()
        return self.inner.score(behavior_items, candidates)

    def save(self, path: str | Path) -> None:
        """Its inner one's."""
        self.inner.save(path)


@dataclass(frozen=True)
class HeldRule:
    """A `Reranker` that arranges only when it is let go; see `Held`."""

    inner: Reranker
    begun: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def rerank(
        self,
        candidates: Candidates,
        history: Int[np.ndarray, " history"],
        categories: Int[np.ndarray, " items"],
        n: int,
    ) -> Candidates:
        """See `Reranker.rerank`."""
        self.begun.set()
        self.released.wait()
        return self.inner.rerank(candidates, history, categories, n)


@dataclass(frozen=True)
class Unreadable:
    """A `BehaviorStore` that cannot be read at the moment."""

    inner: BehaviorStore

    def append(
        self, user: ItemId, item: ItemId, at: int | None = None, *, key: ItemId | None = None
    ) -> int:
        """See `BehaviorStore.append`."""
        return self.inner.append(user, item, at, key=key)

    def add_items(self, items: Iterable[ItemId]) -> None:
        """See `BehaviorStore.add_items`."""
        self.inner.add_items(items)

    def check(self) -> None:
        """Raises StoreError."""
        raise StoreError("the disk is away")

    def recent(self, user: ItemId, n: int) -> list[ItemId]:
        """Raises StoreError."""
        raise StoreError("the disk is away")

    def profile(self, user: ItemId) -> dict[str, Any]:
        """Raises StoreError."""
        raise StoreError("the disk is away")


@contextmanager
def seeded(path: Path, log: Interactions) -> Iterator[SqliteStore]:
    """A new behaviour store with a log in it."""
    with closing(SqliteStore(path)) as store:
        store.import_log(log)
        yield store


def broke(
    store: BehaviorStore, bundle: Bundle, now: Bundle, config: PlatformConfig
) -> PersonalityPlatform:
    """A platform whose version broke while it served: it was `bundle`, and is what `now` is.

    (`use` would not take a broken version: it has to answer once before it takes over.)
    """
    platform = PersonalityPlatform(store, bundle, config)
    platform._bundle = now
    return platform


@contextmanager
def logged(name: str = "mindlib.online.serving.platform") -> Iterator[list[str]]:
    """What is logged meanwhile, a line each with its error, instead of on the page."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            lines.append(f"{record.levelname}: {record.getMessage()}" + f" ({error})" * bool(error))

    logger, handler = logging.getLogger(name), Keep()
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


class Reply(NamedTuple):
    """An HTTP response: its status, its JSON, and how long the client waited, in milliseconds."""

    status: int
    content: Any
    milliseconds: float


@dataclass(frozen=True)
class Client:
    """Speaks JSON with a server on this machine."""

    port: int

    def ask(self, path: str, body: Any = None) -> Reply:
        """GET a path, or POST a body to it."""
        started = time.perf_counter()
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=60)) as connection:
            if body is None:
                connection.request("GET", path)
            else:
                headers = {"Content-Type": "application/json"}
                connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            content = json.loads(response.read())
        return Reply(response.status, content, 1e3 * (time.perf_counter() - started))


@contextmanager
def served(platform: PersonalityPlatform) -> Iterator[Client]:
    """The platform behind HTTP on a free port of this machine, as `make serve` does it.

    Raises:
        RuntimeError: the server does not start.
    """
    server = uvicorn.Server(server_config(platform, 0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        end = time.monotonic() + STARTS_WITHIN
        while not server.started:
            if not thread.is_alive() or time.monotonic() > end:
                raise RuntimeError(f"the server on {HOST} did not start; is a port free there?")
            time.sleep(0.01)
        yield Client(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
