"""The stages between a user's behaviours and her list (§5), and what each promises.

    behaviors --extract--> interests --recall--> candidates --rank--> order --rerank--> slate

Inside the stages items are the numbers of a version's catalogue, 1 and up. A `Bundle` holds the
stages of one version; the platform runs them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.models.baselines import Popularity
from mindlib.retrieval import InterestModel, VectorIndex, search

# What found an item that no interest did.
NO_INTEREST = -1


@dataclass(frozen=True)
class Candidates:
    """Items on their way to the user, best first, none twice.

    Attributes:
        items: numbers of the catalogue.
        scores: of the stage that put them into this order.
        interests: which of the user's interests found each, from 0; `NO_INTEREST` if none did.
    """

    items: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    interests: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.items)

    def take(self, places: Int[np.ndarray, " kept"]) -> Candidates:
        """Some of them, in the order of `places`."""
        return Candidates(self.items[places], self.scores[places], self.interests[places])


@runtime_checkable
class Extractor(Protocol):
    """The user interest extractor: MIND's."""

    def extract(
        self, behaviors: Int[np.ndarray, " length"], profile: Int[np.ndarray, " fields"]
    ) -> Float[Tensor, "interests dim"]:
        """V_u (Eq. 1): the vectors of the interests that the user has, at least one.

        Args:
            behaviors: the items, oldest first; none if only the profile is known.
            profile: the code of each profile field, 0 where it is unknown.
        """
        ...


@runtime_checkable
class RecallEngine(Protocol):
    """The recall engine: K searches, one list."""

    def recall(
        self,
        interests: Float[Tensor, "interests dim"],
        history: Int[np.ndarray, " history"],
        n: int,
    ) -> Candidates:
        """The n items with the best score of any interest (Eq. 3), without those already had.

        Fewer where the catalogue has no more.
        """
        ...


@runtime_checkable
class Ranker(Protocol):
    """The ranking service's model: it sees each candidate beside the behaviours."""

    def score(
        self, behavior_items: Int[np.ndarray, " length"], candidates: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """A finite score for each candidate; higher is better."""
        ...

    def save(self, path: str | Path) -> None:
        """Write it to one file."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """The re-ranking: what a list must look like, whatever the scores say."""

    def rerank(
        self,
        candidates: Candidates,
        history: Int[np.ndarray, " history"],
        categories: Int[np.ndarray, " items"],
        n: int,
    ) -> Candidates:
        """The list that is shown: at most n of the candidates.

        Args:
            history: items that the user has already.
            categories: of each item of the catalogue; 0 is unknown (entry 0 is padding).
        """
        ...


@dataclass(frozen=True)
class InterestExtractor:
    """An `Extractor` that asks an interest model, for one user."""

    model: InterestModel

    def extract(
        self, behaviors: Int[np.ndarray, " length"], profile: Int[np.ndarray, " fields"]
    ) -> Float[Tensor, "interests dim"]:
        """See `Extractor.extract`."""
        profiles = [profile.tolist()] if len(profile) else None
        vectors, active = self.model.interests(Histories.from_lists([behaviors.tolist()], profiles))
        return vectors[active]


@dataclass(frozen=True)
class InterestRecall:
    """A `RecallEngine` over an index.

    Attributes:
        index: of the item vectors.
        items: the item vectors themselves; row 0 is padding.
    """

    index: VectorIndex
    items: Float[Tensor, "items dim"]

    def recall(
        self,
        interests: Float[Tensor, "interests dim"],
        history: Int[np.ndarray, " history"],
        n: int,
    ) -> Candidates:
        """See `RecallEngine.recall`."""
        found = search(
            self.index,
            interests[None],
            torch.ones((1, len(interests)), dtype=torch.bool),
            min(n, len(self.index.ids)),
            histories=Histories.from_lists([history.tolist()]),
        )
        there = found.items[0] > 0
        items, scores = found.items[0, there], found.scores[0, there]
        # The merged score is that of the interest with the largest inner product.
        best = (self.items[items] @ interests.T).argmax(1)
        return Candidates(items.numpy(), scores.numpy(), best.numpy())


@dataclass(frozen=True)
class PopularityRecall:
    """What everybody gets of whom nothing is known, or while the stages above are down.

    Attributes:
        counts: how often each item occurs; entry 0 is padding.
    """

    counts: Int[np.ndarray, " items"]

    def recall(self, history: Int[np.ndarray, " history"], n: int) -> Candidates:
        """The n most frequent items without those already had; their scores are the counts."""
        past = Histories.from_lists([history.tolist()])
        found = Popularity(self.counts).recommend(past, min(n, len(self.counts) - 1))
        there = found.items[0] > 0
        items = found.items[0, there].numpy()
        return Candidates(
            items, found.scores[0, there].numpy(), np.full(len(items), NO_INTEREST, dtype=np.int64)
        )


@dataclass(frozen=True)
class CategoryShare:
    """A `Reranker`: nothing that the user has already, and not too much of one category.

    Candidates keep their order; those that would be one too many of their category wait at the
    end, so that a user whose candidates are all alike still gets a full list. Items of unknown
    category are never too many.

    Attributes:
        share: of one category in a list, at most (rounded up).
    """

    share: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share}: expected more than 0, at most 1 (no limit)")

    def rerank(
        self,
        candidates: Candidates,
        history: Int[np.ndarray, " history"],
        categories: Int[np.ndarray, " items"],
        n: int,
    ) -> Candidates:
        """See `Reranker.rerank`."""
        candidates = candidates.take(np.flatnonzero(~np.isin(candidates.items, history)))
        kinds = categories[candidates.items]
        waits = (_place_in_own(kinds) >= math.ceil(self.share * n)) & (kinds > 0)
        return candidates.take(np.argsort(waits, kind="stable")[:n])


def _place_in_own(kinds: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """How many of the same kind come before each."""
    order = np.argsort(kinds, kind="stable")
    ordered = kinds[order]
    first = np.searchsorted(ordered, ordered)
    place = np.empty(len(kinds), dtype=np.int64)
    place[order] = np.arange(len(kinds)) - first
    return place
