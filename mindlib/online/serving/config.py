"""Limits of the platform: timeouts, sizes and threads of its stages."""

from __future__ import annotations

from dataclasses import dataclass, field

from mindlib.data.option_types import ITEMS, SIZE, check_options


@dataclass(frozen=True)
class Timeouts:
    """Seconds for each stage: several times their duration, so that a timeout indicates a fault.

    The paper reports less than 15 ms for extract and recall together.
    """

    store: float = 0.05
    extract: float = 0.05
    recall: float = 0.05
    rank: float = 0.1
    rerank: float = 0.05

    def __post_init__(self) -> None:
        check_options(self, **dict.fromkeys(vars(self), (1e-6, 60)))


@dataclass(frozen=True)
class PlatformConfig:
    """The limits of a platform.

    Attributes:
        max_candidates: number of items that recall passes to the ranker; 1,000 in the paper.
        max_slate_size: the largest n of a request.
        max_history: number of a user's last behaviors that are read. Items from before these may
            be recommended again.
        category_share: the largest share of one category in a slate; 1 is no limit.
        workers: number of threads of each stage.
    """

    max_candidates: int = 1000
    max_slate_size: int = 100
    max_history: int = 2000
    category_share: float = 0.3
    workers: int = 4
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        items = dict.fromkeys(("max_candidates", "max_slate_size", "max_history"), ITEMS)
        check_options(self, **items, category_share=(1e-6, 1), workers=SIZE)
        if self.max_candidates < self.max_slate_size:
            raise ValueError(
                f"max_candidates={self.max_candidates}: expected at least "
                f"max_slate_size={self.max_slate_size}"
            )
