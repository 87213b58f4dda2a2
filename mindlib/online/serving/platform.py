"""The personality platform (§5): a user's id in, the list that she is shown out.

    store -> extract -> recall -> rank -> rerank

Each stage has a time budget. One that fails or is late is replaced, and the answer says by what:

| stage | what stands in |
|---|---|
| store | popularity: nothing is known of the user |
| extract | popularity; items that the user already has are left out |
| recall | popularity; items that the user already has are left out |
| rank | recall's order |
| rerank | the first n of the order |

A user without a behaviour that the version knows is answered from her profile, in recall's order
(a ranker would have nothing to compare candidates with), and without a profile by popularity.
Popularity's own order is shown: no ranker is asked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from mindlib.data.catalogue import ItemId
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.deadlines import DeadlineExecutor, StageTimeout
from mindlib.online.serving.metrics import Metrics
from mindlib.online.serving.slate import Fallback, Order, Replacement, Slate, Stage
from mindlib.online.serving.stages import NO_INTEREST, Candidates, CategoryShare, Ranker, Reranker
from mindlib.online.serving.store import BehaviorStore, StoreError, validate_id

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timeouts:
    """Seconds for each stage.

    The paper has less than 15 ms for extract and recall together. These are several times what the
    stages take on two cores, so that an answer is late for a reason.
    """

    store: float = 0.05
    extract: float = 0.05
    recall: float = 0.05
    rank: float = 0.1
    rerank: float = 0.05

    def __post_init__(self) -> None:
        for stage in fields(self):
            if not 0 < getattr(self, stage.name) <= 60:
                raise ValueError(
                    f"{stage.name}={getattr(self, stage.name)}: expected seconds, more than 0 and "
                    f"at most 60"
                )


@dataclass(frozen=True)
class PlatformConfig:
    """How a platform answers.

    Attributes:
        max_candidates: that recall hands to the ranker; the paper's 1,000.
        max_slate_size: the largest n that may be asked for.
        max_history: number of a user's last behaviours that are read. Items from before these may
            be recommended again.
        workers: of each stage.
    """

    max_candidates: int = 1000
    max_slate_size: int = 100
    max_history: int = 2000
    workers: int = 4
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        for name in ("max_slate_size", "max_history", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if self.max_candidates < self.max_slate_size:
            raise ValueError(
                f"max_candidates={self.max_candidates}: expected at least "
                f"max_slate_size={self.max_slate_size}"
            )


class InvalidSlateSize(ValueError):
    """A list was asked for that is empty or too long."""


class PersonalityPlatform:
    """Answers with one version at a time, which can be replaced while requests run.

    Args:
        store: of the users' behaviours.
        bundle: the version to begin with.
        reranker: of the re-ranking.
    """

    def __init__(
        self,
        store: BehaviorStore,
        bundle: Bundle,
        config: PlatformConfig | None = None,
        *,
        reranker: Reranker | None = None,
    ) -> None:
        self.store = store
        self.config = config or PlatformConfig()
        self.reranker: Reranker = reranker or CategoryShare()
        self.metrics = Metrics()
        self._swapping = threading.Lock()
        self._budgets = {
            stage.name: DeadlineExecutor(
                stage.name, getattr(self.config.timeouts, stage.name), self.config.workers
            )
            for stage in fields(Timeouts)
        }
        self.use(bundle)

    @property
    def bundle(self) -> Bundle:
        """The version that serves."""
        return self._bundle

    def use(self, bundle: Bundle) -> None:
        """Serve another version from the next request on; those that run end on their own.

        The version has answered once when it takes over, so that no user waits for what is set up
        at the first use.

        Raises:
            Exception: the version's own, if it cannot answer. The one before serves on.
        """
        _warm_up(bundle, self.config.max_candidates)
        with self._swapping:  # two at once: the metrics name the one that serves
            self._bundle = bundle  # one assignment: a request sees the one or the other
            self.metrics.record_swap(bundle.version)

    def recommend(self, user: ItemId, n: int | None = None) -> Slate:
        """At most n items for a user; `max_slate_size` if n is not given.

        Raises:
            InvalidId: no user can have this id. (A user who is not known has an answer.)
            InvalidSlateSize: n is out of range.
        """
        n = self.config.max_slate_size if n is None else n
        if not 1 <= n <= self.config.max_slate_size:
            raise InvalidSlateSize(f"n={n}: expected 1 to {self.config.max_slate_size}")
        user = validate_id(user, "user")
        return _Request(self, self._bundle, user, n).answer()

    def record_click(self, user: ItemId, item: ItemId, at: int) -> None:
        """Add a click: the user's next answer knows of it.

        An item that the shop has, but this version does not know yet, counts from the version on
        that was trained with it.

        Args:
            at: seconds since 1970.

        Raises:
            InvalidId, RefusedClick, StoreError: as `BehaviorStore.append`.
        """
        outcome = "refused"
        try:
            self.store.append(user, item, at)
            outcome = "stored"
        except StoreError:
            outcome = "unavailable"
            raise
        finally:
            self.metrics.clicks.labels(outcome).inc()

    def is_store_available(self) -> bool:
        """Whether the store can be read at the moment, within its budget."""
        try:
            self._budgets["store"].run(lambda: self.store.recent("nobody", 1))
        except Exception as error:  # whatever it is, health has an answer
            log.warning("the store does not answer: %r", error)
            return False
        return True

    def close(self) -> None:
        """End the stages' workers. The store is the caller's."""
        for budget in self._budgets.values():
            budget.close()


class _Request:
    """One user's way through the stages of one version."""

    def __init__(self, platform: PersonalityPlatform, bundle: Bundle, user: ItemId, n: int) -> None:
        self.platform, self.bundle, self.user, self.n = platform, bundle, user, n
        self.milliseconds: dict[str, float] = {}
        self.fallbacks: list[Fallback] = []
        self.order: Order = "recall"

    def answer(self) -> Slate:
        started = time.perf_counter()
        behaviors, profile = self._past() or (_none(), _none())
        candidates = self._recalled(behaviors, profile)
        if candidates is None:
            self.order = "popularity"
            candidates = self.bundle.popularity.recall(
                behaviors, self.platform.config.max_candidates
            )
        elif (scores := self._scores(behaviors, candidates)) is not None:
            self.order = "ranking"
            best = np.argsort(-scores, kind="stable")
            candidates = Candidates(
                candidates.items[best], scores[best], candidates.interests[best]
            )
        shown = self._arranged(candidates, behaviors)
        seconds = time.perf_counter() - started
        self.milliseconds["total"] = 1e3 * seconds
        self.platform.metrics.requests.observe(seconds)
        for fallback in self.fallbacks:
            self.platform.metrics.fallbacks.labels(*vars(fallback).values()).inc()
        ids, titles = self.bundle.catalogue.item_ids, self.bundle.metadata.titles
        items = shown.items.tolist()
        return Slate(
            user=self.user,
            items=tuple(ids[item - 1] for item in items),
            titles=tuple(titles[item] for item in items),
            scores=tuple(shown.scores.tolist()),
            interests=tuple(
                None if interest == NO_INTEREST else interest
                for interest in shown.interests.tolist()
            ),
            order=self.order,
            version=self.bundle.version,
            milliseconds=self.milliseconds,
            fallbacks=tuple(self.fallbacks),
        )

    def _past(self) -> tuple[Int[np.ndarray, " length"], Int[np.ndarray, " fields"]] | None:
        """The user's behaviours and profile, in the version's numbers; None: none is known."""
        store, max_history = self.platform.store, self.platform.config.max_history
        catalogue = self.bundle.catalogue

        def read() -> tuple[Int[np.ndarray, " length"], Int[np.ndarray, " fields"]]:
            items = catalogue.drop_unknown(store.recent(self.user, max_history))
            known = store.profile(self.user)
            # Yesterday's version may lack a field that is known by now.
            codes = catalogue.encode_profile({name: known.get(name) for name in catalogue.fields})
            return (
                np.array(catalogue.encode_items(items), dtype=np.int64),
                np.array(codes, dtype=np.int64),
            )

        return self._try("store", read, "popularity")

    def _recalled(
        self, behaviors: Int[np.ndarray, " length"], profile: Int[np.ndarray, " fields"]
    ) -> Candidates | None:
        """Recall's candidates; None where popularity has to stand in."""
        if self.fallbacks:
            return None
        if not len(behaviors):
            known = bool(profile.any())
            instead = "profile" if known else "popularity"
            self.fallbacks.append(Fallback("extract", "no behaviors", instead))
            if not known:
                return None
        bundle, wanted = self.bundle, self.platform.config.max_candidates
        interests = self._try(
            "extract", lambda: bundle.extractor.extract(behaviors, profile), "popularity"
        )
        if interests is None:
            return None
        return self._try(
            "recall", lambda: bundle.recall.recall(interests, behaviors, wanted), "popularity"
        )

    def _scores(
        self, behaviors: Int[np.ndarray, " length"], candidates: Candidates
    ) -> Float[np.ndarray, " n"] | None:
        """The ranker's; None where recall's order stands."""
        ranker = self.bundle.ranker
        if ranker is None or not len(behaviors):
            why = "absent" if ranker is None else "no behaviors"
            self.fallbacks.append(Fallback("rank", why, "recall order"))
            return None
        return self._try(
            "rank", lambda: _ranked(ranker, behaviors, candidates.items), "recall order"
        )

    def _arranged(
        self, candidates: Candidates, behaviors: Int[np.ndarray, " length"]
    ) -> Candidates:
        reranker, categories, n = self.platform.reranker, self.bundle.metadata.categories, self.n
        shown = self._try(
            "rerank",
            lambda: reranker.rerank(candidates, behaviors, categories, n),
            "first n",
        )
        return candidates.take(np.arange(min(n, len(candidates)))) if shown is None else shown

    def _try(
        self,
        stage: Stage,
        work: Callable[[], T],
        fallback: Replacement,
    ) -> T | None:
        """What a stage gives within its budget; None, and a note in the answer, if it does not."""
        started = time.perf_counter()
        try:
            return self.platform._budgets[stage].run(work)
        except StageTimeout:
            self.fallbacks.append(Fallback(stage, "timeout", fallback))
        except Exception:
            # Whatever it is, the user is shown something.
            log.exception("stage %s failed; %s stands in", stage, fallback)
            self.fallbacks.append(Fallback(stage, "failed", fallback))
        finally:
            seconds = time.perf_counter() - started
            self.milliseconds[stage] = 1e3 * seconds
            self.platform.metrics.stages.labels(stage).observe(seconds)
        return None


def _none() -> Int[np.ndarray, " none"]:
    return np.zeros(0, dtype=np.int64)


def _ranked(
    ranker: Ranker, behaviors: Int[np.ndarray, " length"], items: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Its scores, which nobody would notice to be nonsense later on."""
    scores = ranker.score(behaviors, items)
    if scores.shape != items.shape or not np.isfinite(scores).all():
        raise ValueError(
            f"the ranker gave {scores.shape} scores for {len(items)} candidates, "
            f"{int((~np.isfinite(scores)).sum())} of them no finite numbers"
        )
    return scores


def _warm_up(bundle: Bundle, candidates: int) -> None:
    """Answer one request of a user who clicked the first item."""
    behaviors = np.ones(1, dtype=np.int64)
    profile = np.zeros(len(bundle.catalogue.fields), dtype=np.int64)
    interests = bundle.extractor.extract(behaviors, profile)
    found = bundle.recall.recall(interests, behaviors, candidates)
    bundle.popularity.recall(behaviors, candidates)
    if bundle.ranker is not None:
        _ranked(bundle.ranker, behaviors, found.items)
