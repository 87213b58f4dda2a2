"""The stages of a recommendation request (§5), their limits, and the response.

    behaviors --extract--> interests --recall--> candidates --rank--> order --rerank--> slate

Inside the stages, items are the numbers of a version's catalogue, from 1. `Bundle` implements
extraction, recall and ranking; this module has the re-ranking.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int

from mindlib.data.catalogue import ItemId
from mindlib.data.option_types import ITEMS, SIZE, Options

Stage = Literal["store", "extract", "recall", "rank", "rerank"]
Order = Literal["ranking", "recall", "popularity"]
Reason = Literal["timeout", "failed", "absent", "no behaviors"]
Replacement = Literal["popularity", "profile", "recall order", "first n"]
Seconds = Annotated[float, (1e-6, 60)]

NO_INTEREST = -1  # of an item that comes from popularity


@dataclass(frozen=True)
class Timeouts(Options):
    """Seconds for each stage: several times their duration, so that a timeout indicates a fault.

    The paper reports less than 15 ms for extract and recall together.
    """

    store: Seconds = 0.05
    extract: Seconds = 0.05
    recall: Seconds = 0.05
    rank: Seconds = 0.1
    rerank: Seconds = 0.05


@dataclass(frozen=True)
class PlatformConfig(Options):
    """The limits of a platform.

    Attributes:
        max_candidates: number of items that recall passes to the ranker; 1,000 in the paper.
        max_slate_size: the largest n of a request.
        max_history: number of a user's last behaviors that are read. Items from before these may
            be recommended again.
        category_share: the largest share of one category in a slate; 1 is no limit.
        workers: number of threads of each stage.
    """

    max_candidates: Annotated[int, ITEMS] = 1000
    max_slate_size: Annotated[int, ITEMS] = 100
    max_history: Annotated[int, ITEMS] = 2000
    category_share: Annotated[float, (1e-6, 1)] = 0.3
    workers: Annotated[int, SIZE] = 4
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_candidates < self.max_slate_size:
            raise ValueError(
                f"max_candidates={self.max_candidates}: expected at least "
                f"max_slate_size={self.max_slate_size}"
            )


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


def rerank(
    candidates: Candidates,
    history: Int[np.ndarray, " history"],
    categories: Int[np.ndarray, " items"],
    n: int,
    *,
    share: float,
) -> Candidates:
    """Choose at most n candidates that are not in the history, with a limit for each category.

    Candidates keep their order. Candidates above the limit of their category move to the end, so
    that a user whose candidates all have one category still gets a full slate. Items of unknown
    category are not limited.

    Args:
        history: items that the user already has.
        categories: the category of each item of the catalogue; 0 is unknown (entry 0 is padding).
        share: the largest share of one category in a slate (rounded up to whole items).
    """
    candidates = candidates.take(np.flatnonzero(~np.isin(candidates.items, history)))
    codes = categories[candidates.items]
    order = np.argsort(codes, kind="stable")
    rank = np.empty(len(codes), dtype=np.int64)  # candidates of the same category before each
    rank[order] = np.arange(len(codes)) - np.searchsorted(codes[order], codes[order])
    is_over = (rank >= math.ceil(share * n)) & (codes > 0)
    return candidates.take(np.argsort(is_over, kind="stable")[:n])


@dataclass(frozen=True)
class Fallback:
    """A stage that was replaced.

    Attributes:
        reason: "timeout"; "failed" (the log has the error); "absent" (the version has no ranker);
            or "no behaviors" (the version knows none of the user).
        fallback: the replacement.
    """

    stage: Stage
    reason: Reason
    fallback: Replacement


@dataclass(frozen=True)
class Slate:
    """The items recommended to a user, best first, and how they were chosen.

    Attributes:
        items: distinct original ids, none of them among the behaviors that were read. There are
            fewer than requested only if the catalogue has no more.
        scores: the scores that order the items before re-ranking.
        interests: for each item, the 0-based number of the user's interest that scores it best;
            None if the item comes from popularity.
        order: the source of the scores: the ranker, the best interest's inner product, or counts.
        milliseconds: the duration of each stage that ran, and "total".
        fallbacks: the fallbacks used, in the order of the stages.
    """

    user: ItemId
    items: tuple[ItemId, ...]
    titles: tuple[str, ...]
    scores: tuple[float, ...]
    interests: tuple[int | None, ...]
    order: Order
    version: str
    milliseconds: dict[str, float]
    fallbacks: tuple[Fallback, ...]
