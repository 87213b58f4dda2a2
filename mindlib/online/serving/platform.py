"""The personality platform (§5): from a user's id to the slate of items recommended to them.

    store -> extract -> recall -> rank -> rerank

Each stage has a timeout. A stage that fails or times out has a fallback, which the slate names:

===============  =========================================================
stage            fallback
===============  =========================================================
store            popularity, because nothing is known of the user
extract, recall  popularity, without the items of the user's history
rank             the order of recall
rerank           the first n candidates
===============  =========================================================

A user without known behaviors gets the items that fit their profile, in the order of recall (a
ranker has nothing to compare candidates with), and without a profile the popular items. Popular
items are not ranked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from mindlib.data.catalogue import ItemId
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.database import StoreError
from mindlib.online.serving.deadlines import DeadlineExecutor, StageTimeout
from mindlib.online.serving.metrics import Metrics
from mindlib.online.serving.stages import (
    NO_INTEREST,
    Candidates,
    Fallback,
    Order,
    PlatformConfig,
    Reason,
    Replacement,
    Slate,
    Stage,
    Timeouts,
    rerank,
)
from mindlib.online.serving.store import InvalidRequest, SqliteStore, validate_id

T = TypeVar("T")
EMPTY = np.zeros(0, dtype=np.int64)

log = logging.getLogger(__name__)


class PersonalityPlatform:
    """Serves one version at a time, which can be replaced while requests run.

    Args:
        store: the users' behaviors.
        bundle: the first version; afterwards the attribute `bundle` is the one in service.
    """

    def __init__(
        self, store: SqliteStore, bundle: Bundle, config: PlatformConfig | None = None
    ) -> None:
        self.store = store
        self.config = config or PlatformConfig()
        self.metrics = Metrics()
        self._swapping = threading.Lock()
        self._executors = {
            stage.name: DeadlineExecutor(
                stage.name, getattr(self.config.timeouts, stage.name), self.config.workers
            )
            for stage in fields(Timeouts)
        }
        self.use(bundle)

    def use(self, bundle: Bundle) -> None:
        """Serve another version from the next request on; running requests keep theirs.

        The version first answers one request, so that no user waits for lazy initialization. Its
        items are added to the store, so that a click on any of them is accepted.

        If the version cannot answer, or its items cannot be stored, the error is raised and the
        previous one stays in service.
        """
        _warm_up(bundle, self.config.max_candidates)
        self.store.add_items(bundle.catalogue.item_ids)
        with self._swapping:  # so that the metrics name the version of the last assignment
            self.bundle = bundle  # one assignment: a request sees either version as a whole
            self.metrics.record_swap(bundle.version)

    def recommend(self, user: ItemId, n: int | None = None) -> Slate:
        """Recommend at most n items to a user, known or not; `max_slate_size` by default.

        Raises:
            InvalidRequest: the id is invalid, or n is out of range.
        """
        n = self.config.max_slate_size if n is None else n
        if not 1 <= n <= self.config.max_slate_size:
            raise InvalidRequest(f"n={n}: expected 1 to {self.config.max_slate_size}")
        return _Request(self, validate_id(user, "user"), n).run()

    def record_click(
        self, user: ItemId, item: ItemId, at: int | None = None, *, key: ItemId | None = None
    ) -> int:
        """Store a click, which the user's next slate takes into account, and return its time.

        Items that the version in service lacks have no effect on its slates. Args and errors: see
        `SqliteStore.append`.
        """
        outcome = "refused"
        try:
            at = self.store.append(user, item, at, key=key)
            outcome = "stored"
        except StoreError:
            outcome = "unavailable"
            raise
        finally:
            self.metrics.clicks.labels(outcome).inc()
        return at

    def is_store_available(self) -> bool:
        """Return whether the store can be written now, within its timeout."""
        try:
            self._executors["store"].run(self.store.check)
        except Exception as error:  # any failure is an answer to a health check
            log.warning("the store is unavailable: %r", error)
            return False
        return True

    def close(self) -> None:
        """Stop the workers. The store belongs to the caller."""
        for executor in self._executors.values():
            executor.close()


class _Request:
    """One request, which keeps to the version that was in service when it began."""

    def __init__(self, platform: PersonalityPlatform, user: ItemId, n: int) -> None:
        self.platform, self.config, self.user, self.n = platform, platform.config, user, n
        self.bundle = platform.bundle
        self.milliseconds: dict[str, float] = {}
        self.fallbacks: list[Fallback] = []

    def run(self) -> Slate:
        started = time.perf_counter()
        order: Order = "recall"
        behaviors, profile = self._read_store() or (EMPTY, EMPTY)
        candidates = self._recall(behaviors, profile)
        if candidates is None:
            order = "popularity"
            candidates = self.bundle.recall_popular(behaviors, self.config.max_candidates)
        elif (scores := self._rank(behaviors, candidates)) is not None:
            order = "ranking"
            ranked = Candidates(candidates.items, scores, candidates.interests)
            candidates = ranked.take(np.argsort(-scores, kind="stable"))
        chosen = self._rerank(candidates, behaviors)
        seconds = time.perf_counter() - started
        self.milliseconds["total"] = 1e3 * seconds
        self.platform.metrics.requests.observe(seconds)
        for fallback in self.fallbacks:
            self.platform.metrics.fallbacks.labels(*vars(fallback).values()).inc()
        ids, titles = self.bundle.catalogue.item_ids, self.bundle.titles
        items, interests = chosen.items.tolist(), chosen.interests.tolist()
        return Slate(
            user=self.user,
            items=tuple(ids[item - 1] for item in items),
            titles=tuple(titles[item] for item in items),
            scores=tuple(chosen.scores.tolist()),
            interests=tuple(None if k == NO_INTEREST else k for k in interests),
            order=order,
            version=self.bundle.version,
            milliseconds=self.milliseconds,
            fallbacks=tuple(self.fallbacks),
        )

    def _read_store(self) -> tuple[Int[np.ndarray, " length"], Int[np.ndarray, " fields"]] | None:
        """Read the user's behaviors and profile codes, in the numbers of the version."""
        store, catalogue = self.platform.store, self.bundle.catalogue

        def read() -> tuple[Int[np.ndarray, " length"], Int[np.ndarray, " fields"]]:
            items = store.recent(self.user, self.config.max_history)
            numbers = catalogue.encode_items(catalogue.drop_unknown(items))
            profile = store.profile(self.user)
            # The store may know fields that the version lacks.
            codes = catalogue.encode_profile({key: profile.get(key) for key in catalogue.fields})
            return np.array(numbers, dtype=np.int64), np.array(codes, dtype=np.int64)

        return self._try("store", "popularity", read)

    def _recall(
        self, behaviors: Int[np.ndarray, " length"], profile: Int[np.ndarray, " fields"]
    ) -> Candidates | None:
        """Extract the interests and recall candidates; None if popularity is the fallback."""
        bundle, n = self.bundle, self.config.max_candidates
        if self.fallbacks:  # the store could not be read
            return None
        if not len(behaviors):
            self._fall_back("extract", "no behaviors", "profile" if profile.any() else "popularity")
            if not profile.any():
                return None
        vectors = self._try("extract", "popularity", lambda: bundle.extract(behaviors, profile))
        if vectors is None:
            return None
        return self._try("recall", "popularity", lambda: bundle.recall(vectors, behaviors, n))

    def _rank(
        self, behaviors: Int[np.ndarray, " length"], candidates: Candidates
    ) -> Float[np.ndarray, " n"] | None:
        ranker = self.bundle.ranker
        if ranker is None or not len(behaviors):
            reason = "absent" if ranker is None else "no behaviors"
            return self._fall_back("rank", reason, "recall order")
        return self._try("rank", "recall order", lambda: ranker.score(behaviors, candidates.items))

    def _rerank(self, candidates: Candidates, behaviors: Int[np.ndarray, " length"]) -> Candidates:
        categories, share, n = self.bundle.categories, self.config.category_share, self.n
        chosen = self._try(
            "rerank", "first n", lambda: rerank(candidates, behaviors, categories, n, share=share)
        )
        return candidates.take(np.arange(len(candidates))[:n]) if chosen is None else chosen

    def _try(self, stage: Stage, fallback: Replacement, work: Callable[[], T]) -> T | None:
        """Run a stage until its timeout; None, and a recorded fallback, if it does not finish."""
        started = time.perf_counter()
        try:
            return self.platform._executors[stage].run(work)
        except StageTimeout:
            return self._fall_back(stage, "timeout", fallback)
        except Exception:  # whatever failed, the user gets a slate
            log.exception("stage %s failed; the fallback is %s", stage, fallback)
            return self._fall_back(stage, "failed", fallback)
        finally:
            seconds = time.perf_counter() - started
            self.milliseconds[stage] = 1e3 * seconds
            self.platform.metrics.stages.labels(stage).observe(seconds)

    def _fall_back(self, stage: Stage, reason: Reason, fallback: Replacement) -> None:
        self.fallbacks.append(Fallback(stage, reason, fallback))


def _warm_up(bundle: Bundle, max_candidates: int) -> None:
    """Answer one request of a user who clicked the first item."""
    behaviors = np.ones(1, dtype=np.int64)
    profile = np.zeros(len(bundle.catalogue.fields), dtype=np.int64)
    interests = bundle.extract(behaviors, profile)
    candidates = bundle.recall(interests, behaviors, max_candidates)
    bundle.recall_popular(behaviors, max_candidates)
    if bundle.ranker is not None:
        bundle.ranker.score(behaviors, candidates.items)
