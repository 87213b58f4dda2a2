"""The stages of a recommendation request (§5).

    behaviors --extract--> interests --recall--> candidates --rank--> order --rerank--> slate

Inside the stages, items are the numbers of a version's catalogue, from 1. `Bundle` implements
extraction and recall; this module has the interfaces of ranking and re-ranking.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from mindlib.data.option_types import check_options

NO_INTEREST = -1  # of an item that comes from popularity


@dataclass(frozen=True)
class Candidates:
    """Distinct items, best first.

    Attributes:
        items: numbers of the catalogue.
        scores: the scores of the stage that set the order.
        interests: the 0-based number of the user's interest that scores each item best, or
            `NO_INTEREST`.
    """

    items: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    interests: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.items)

    def take(self, positions: Int[np.ndarray, " kept"]) -> Candidates:
        """Select the candidates at the given positions, in their order."""
        return Candidates(self.items[positions], self.scores[positions], self.interests[positions])


@runtime_checkable
class Ranker(Protocol):
    """The model of the ranking service: it scores each candidate given the behaviors."""

    def score(
        self, behavior_items: Int[np.ndarray, " length"], candidates: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """Return a finite score for each candidate; higher is better."""
        ...

    def save(self, path: str | Path) -> None:
        """Write the model to one file."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """A rule that every slate must satisfy, whatever the scores are."""

    def rerank(
        self,
        candidates: Candidates,
        history: Int[np.ndarray, " history"],
        categories: Int[np.ndarray, " items"],
        n: int,
    ) -> Candidates:
        """Choose at most n of the candidates.

        Args:
            history: items that the user already has.
            categories: the category of each item of the catalogue; 0 is unknown (entry 0 is
                padding).
        """
        ...


@dataclass(frozen=True)
class CategoryShare:
    """A `Reranker` that removes the user's history and limits the share of each category.

    Candidates keep their order. Candidates above the limit of their category move to the end, so
    that a user whose candidates all have one category still gets a full slate. Items of unknown
    category are not limited.

    Attributes:
        share: the largest share of one category in a slate (rounded up to whole items).
    """

    share: float = 0.3

    def __post_init__(self) -> None:
        check_options(self)
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
        codes = categories[candidates.items]
        is_over = (_rank_within_category(codes) >= math.ceil(self.share * n)) & (codes > 0)
        return candidates.take(np.argsort(is_over, kind="stable")[:n])


def _rank_within_category(codes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Count how many candidates of the same category come before each."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - np.searchsorted(ordered, ordered)
    return rank
