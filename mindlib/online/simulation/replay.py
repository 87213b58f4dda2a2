"""Off-policy replay over the last weeks of a real log: how much of the next purchase was shown?

A model trained before the last weeks is asked, before each basket of those weeks, for the slate
that it would have shown given the history until then; the items of the basket on the slate are
counted. The limits of this evaluation:

- Purchases were made under another policy, the shop's. An item that the user never saw there, and
  would have bought from the slate, counts as a miss; an item that they would have bought anyway
  counts as a hit. Replay therefore rewards prediction, not influence, and favours popular items.
- A slate that sells today changes tomorrow's history. Here all arms see the log's histories.
- Positions do not count, and users who bought nothing are not represented.
- Intervals cover the sampling of households, not the difference to an online test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from mindlib.data.interactions import Interactions
from mindlib.data.splits import Cases, Split, build_cases
from mindlib.evaluation import Estimate
from mindlib.online.ranking import CandidateScorer
from mindlib.online.simulation.analysis import difference, rate
from mindlib.online.simulation.week import SlateConfig, build_pipeline
from mindlib.retrieval import Recommender

WEEK = 7 * 24 * 3600  # seconds
USERS_PER_CHUNK = 4096


def last_weeks(log: Interactions, weeks: int = 4, validation_weeks: int = 2) -> Split:
    """Split by time: train on the first weeks, validate on the next ones, replay the last ones.

    Every basket of those weeks whose user has a history is a case of its own.

    Args:
        weeks: number of weeks replayed, counted back from the log's last event.
        validation_weeks: number of weeks before them.

    Raises:
        ValueError: a number below 1, or a part of the log without a case.
    """
    if weeks < 1 or validation_weeks < 1:
        raise ValueError(
            f"weeks={weeks}, validation_weeks={validation_weeks}: expected at least 1 of each"
        )
    end = int(log.timestamps.max()) + 1
    replay_start = end - weeks * WEEK
    validation_start = replay_start - validation_weeks * WEEK
    parts = {
        "training": log.timestamps < validation_start,
        "validation": (log.timestamps >= validation_start) & (log.timestamps < replay_start),
        "replay": log.timestamps >= replay_start,
    }
    for name, events in parts.items():
        if not (events & _has_history(log)).any():
            days = (end - int(log.timestamps.min())) / WEEK * 7
            raise ValueError(
                f"weeks={weeks}, validation_weeks={validation_weeks}: no event with a history is "
                f"left for {name} in {log.name!r}, which has {days:.1f} days; choose fewer weeks"
            )
    return Split(
        f"last {weeks} weeks",
        log,
        parts["training"],
        _baskets(log, parts["validation"]),
        _baskets(log, parts["replay"]),
    )


@dataclass(frozen=True)
class Replay:
    """Hits of each arm, case by case.

    Attributes:
        arms: their names.
        users: the user of each case.
        hits: number of the basket's items on the slate.
        targets: number of the basket's items.
    """

    arms: tuple[str, ...]
    users: Int[np.ndarray, " cases"]
    hits: Int[np.ndarray, "arms cases"]
    targets: Int[np.ndarray, " cases"]

    def share(self, arm: int) -> Estimate:
        """Estimate the share of the next purchases that was on an arm's slate."""
        return rate(self._by_user(self.hits[arm]), self._by_user(self.targets))

    def lift(self, arm: int, base: int) -> Estimate:
        """Estimate the share of one arm minus that of another, paired over households."""
        hits = np.stack([self._by_user(self.hits[a]) for a in (arm, base)])
        targets = self._by_user(self.targets)
        return difference(hits, np.stack([targets, targets]), paired=True)

    def _by_user(self, values: Int[np.ndarray, " cases"]) -> Int[np.ndarray, " users"]:
        # Weights make bincount's result floating-point; the counts are far below 2^53.
        return np.bincount(self.users, weights=values).astype(np.int64)


def replay(
    split: Split,
    arms: Mapping[str, Recommender],
    ranker: CandidateScorer | None = None,
    slate: SlateConfig | None = None,
) -> Replay:
    """Count the hits of the slates that each arm would have shown for the cases of `split.test`.

    Args:
        split: from `last_weeks`, on whose training part the arms were fitted.
        ranker: orders the candidates, the same for all; None keeps the order of retrieval.
        slate: by default 100 positions from 1,000 candidates, whatever the size of the catalogue.

    Raises:
        ValueError: no arm, or the catalogue does not fill the slate.
    """
    slate = slate or SlateConfig(max_share=1.0, length=100)
    if not arms:
        raise ValueError("arms is empty: expected at least one recommender")
    cases = split.test
    hits = [
        _count_hits(cases, build_pipeline(arm, ranker, slate, cases.num_items), slate.length)
        for arm in arms.values()
    ]
    return Replay(
        tuple(arms), cases.histories.users.numpy(), np.stack(hits), cases.offsets.diff().numpy()
    )


def _count_hits(cases: Cases, recommender: Recommender, length: int) -> Int[np.ndarray, " cases"]:
    """Count each case's targets on its slate."""
    counts = np.zeros(len(cases), dtype=np.int64)
    offsets, width = cases.offsets.numpy(), cases.num_items + 1
    for start in range(0, len(cases), USERS_PER_CHUNK):
        stop = min(start + USERS_PER_CHUNK, len(cases))
        histories = cases.histories.select(slice(start, stop))
        slates = recommender.recommend(histories, length).items.cpu().numpy()
        rows = np.repeat(np.arange(stop - start), np.diff(offsets[start : stop + 1]))
        targets = cases.targets.numpy()[offsets[start] : offsets[stop]]
        # One number for each pair of case and item, so that one membership test serves the chunk.
        on_slate = np.arange(stop - start)[:, None] * width + slates
        hit = np.isin(rows * width + targets, on_slate)
        counts[start:stop] = np.bincount(rows[hit], minlength=stop - start)
    return counts


def _has_history(log: Interactions) -> Bool[np.ndarray, " events"]:
    return log.step_starts > log.offsets[log.users]


def _baskets(log: Interactions, events: Bool[np.ndarray, " events"]) -> Cases:
    """Return every basket among the events whose user has a history, as a case."""
    starts = np.unique(log.step_starts[events & _has_history(log)])
    ends = np.searchsorted(log.step_starts, starts, side="right")
    return build_cases(log, log.users[starts], starts, ends)
