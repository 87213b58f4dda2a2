"""What the platform answers, and which fallbacks were used."""

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
    """A stage that something else stood in for.

    Attributes:
        reason: "timeout", "failed" (the log has the error), "absent" (the version has no
            ranker), or "no behaviors" (that the version knows).
        fallback: "popularity", "profile", "recall order" or "first n".
    """

    stage: Stage
    reason: Reason
    fallback: Replacement


@dataclass(frozen=True)
class Slate:
    """What a user is shown, and how it came about.

    Attributes:
        items: original ids, best first; none that the user already has, none twice. There are fewer
            than were asked for where the catalogue has no more.
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
