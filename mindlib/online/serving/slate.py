"""The platform's response: the recommended items and the fallbacks that were used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mindlib.data.catalogue import ItemId

Stage = Literal["store", "extract", "recall", "rank", "rerank"]
Order = Literal["ranking", "recall", "popularity"]
Reason = Literal["timeout", "failed", "absent", "no behaviors"]
Replacement = Literal["popularity", "profile", "recall order", "first n"]


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
        items: distinct original ids, none of them in the user's history. There are fewer than
            requested only if the catalogue has no more.
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
