"""What the platform answers, and how it says what it had to do without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mindlib.data.catalogue import ItemId

Stage = Literal["store", "extract", "recall", "rank", "rerank"]
Order = Literal["ranking", "recall", "popularity"]
Why = Literal["late", "failed", "absent", "no behaviors"]
Instead = Literal["popularity", "profile", "recall's order", "first of the order"]


@dataclass(frozen=True)
class Fallback:
    """A stage that something else stood in for.

    Attributes:
        why: "late", "failed" (the log has the error), "absent" (the version has no ranker), or
            "no behaviors" (that the version knows).
        instead: "popularity", "profile", "recall's order" or "first of the order".
    """

    stage: Stage
    why: Why
    instead: Instead


@dataclass(frozen=True)
class Answer:
    """What a user is shown, and how it came about.

    Attributes:
        items: original ids, best first; none that she has had, none twice. Fewer than were asked
            for where there are no more.
        titles: of the items.
        scores: by which they are ordered.
        interests: which of her interests found each, from 0; None if none did.
        order: whose scores these are: the ranker's, or the best interest's inner product, or
            counts.
        version: of the bundle that answered, all of it.
        milliseconds: that each stage took that was asked, and "total".
        fallbacks: what was replaced, in the order of the stages.
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
