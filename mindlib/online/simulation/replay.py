"""Off-policy replay over a real log's last weeks: what share of the next purchases was on the page.

There is no button in a log. A model that was trained before the last weeks is asked, before each
basket of those weeks, for the page it would have shown, with the past that the household had by
then; counted is what it bought next and the page held. What this cannot say:

- She bought what she bought under another policy, that of the shop. A product she never saw
  there, and would have taken from the page, counts as a miss; what she found without help counts
  as a hit. So it rewards foreseeing what happens anyway, not changing it, and popular products
  are foreseen best.
- A page that sells today changes tomorrow's past. Here the pasts are the log's, whoever is asked.
- The place on the page counts for nothing, and no page is shown to anybody who bought nothing.
- Its intervals say how far other households would differ, not whether the online order is this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from mindlib.data.interactions import Interactions
from mindlib.data.splits import Cases, Split, cases_between
from mindlib.online.ranking import CandidateScorer
from mindlib.online.simulation.analysis import Difference, Rate, difference, rate
from mindlib.online.simulation.week import PageConfig, pages
from mindlib.retrieval import Recommender

WEEK = 7 * 24 * 3600
USERS_AT_ONCE = 4096


def last_weeks(log: Interactions, weeks: int = 4, validation_weeks: int = 2) -> Split:
    """Train on what came before, validate on the weeks between, replay the last ones.

    Every step (basket) of those weeks that has a past is a case of its own.

    Args:
        weeks: replayed, counted back from the log's last event.
        validation_weeks: before them.

    Raises:
        ValueError: a number below 1, or a part of the log without a case.
    """
    if weeks < 1 or validation_weeks < 1:
        raise ValueError(
            f"weeks={weeks}, validation_weeks={validation_weeks}: expected at least 1 of each"
        )
    end = int(log.timestamps.max()) + 1
    cut = end - weeks * WEEK
    earlier = cut - validation_weeks * WEEK
    parts = {
        "training": log.timestamps < earlier,
        "validation": (log.timestamps >= earlier) & (log.timestamps < cut),
        "replay": log.timestamps >= cut,
    }
    for name, events in parts.items():
        if not (events & _has_past(log)).any():
            days = (end - int(log.timestamps.min())) / WEEK * 7
            raise ValueError(
                f"weeks={weeks}, validation_weeks={validation_weeks}: no event with a past is left "
                f"for {name} in {log.name!r}, which has {days:.1f} days; choose fewer weeks"
            )
    return Split(
        f"last {weeks} weeks",
        log,
        parts["training"],
        _steps(log, parts["validation"]),
        _steps(log, parts["replay"]),
    )


@dataclass(frozen=True)
class Replay:
    """What was foreseen, case by case.

    Attributes:
        arms: their names.
        users: whose case it is.
        weeks: in which week it lies, counted back: -1 is the log's last.
        hits: the next purchases that were on the page.
        targets: the next purchases.
    """

    arms: tuple[str, ...]
    users: Int[np.ndarray, " cases"]
    weeks: Int[np.ndarray, " cases"]
    hits: Int[np.ndarray, "arms cases"]
    targets: Int[np.ndarray, " cases"]

    def share(self, arm: int, week: int | None = None) -> Rate:
        """The share of the next purchases that were on an arm's page (in one week, or in all)."""
        rows = self._rows(week)
        return rate(self._by_user(self.hits[arm], rows), self._by_user(self.targets, rows))

    def lift(self, arm: int, base: int) -> Difference:
        """The share of one arm less that of another, for the same households."""
        rows = self._rows(None)
        hits = np.stack([self._by_user(self.hits[a], rows) for a in (arm, base)])
        targets = self._by_user(self.targets, rows)
        return difference(hits, np.stack([targets, targets]), paired=True)

    def _rows(self, week: int | None) -> Bool[np.ndarray, " cases"]:
        return np.ones(len(self.users), dtype=bool) if week is None else self.weeks == week

    def _by_user(
        self, values: Int[np.ndarray, " cases"], rows: Bool[np.ndarray, " cases"]
    ) -> Int[np.ndarray, " users"]:
        # Weights make bincount's result floating-point; the counts are far below 2^53.
        return np.bincount(self.users[rows], weights=values[rows]).astype(np.int64)


def replay(
    split: Split,
    arms: Mapping[str, Recommender],
    ranker: CandidateScorer | None = None,
    page: PageConfig | None = None,
) -> Replay:
    """The pages that each arm would have shown before each case of `split.test`.

    Args:
        split: from `last_weeks`, on whose training part the arms were fitted.
        ranker: orders the candidates, the same for all; None leaves them as retrieved.
        page: by default 1,000 candidates, whatever part of the catalogue they are, and 100 places.

    Raises:
        ValueError: no arm, or the catalogue does not fill the page.
    """
    page = page or PageConfig(part=1.0, shown=100)
    if not arms:
        raise ValueError("no arm: expected at least one recommender")
    cases = split.test
    hits = np.stack(
        [
            _hits(cases, pages(recommender, ranker, page, cases.num_items), page.shown)
            for recommender in arms.values()
        ]
    )
    starts = cases.histories.ends.numpy()  # where a past ends, the step begins
    weeks = (split.log.timestamps[starts] - int(split.log.timestamps.max()) - 1) // WEEK
    return Replay(
        tuple(arms),
        cases.histories.users.numpy(),
        weeks,
        hits,
        cases.offsets.diff().numpy(),
    )


def _hits(cases: Cases, recommender: Recommender, shown: int) -> Int[np.ndarray, " cases"]:
    """How many of each case's targets are on its page."""
    counts = np.zeros(len(cases), dtype=np.int64)
    offsets, width = cases.offsets.numpy(), cases.num_items + 1
    for start in range(0, len(cases), USERS_AT_ONCE):
        stop = min(start + USERS_AT_ONCE, len(cases))
        histories = cases.histories.select(slice(start, stop))
        lists = recommender.recommend(histories, shown).items.cpu().numpy()
        rows = np.repeat(np.arange(stop - start), np.diff(offsets[start : stop + 1]))
        targets = cases.targets.numpy()[offsets[start] : offsets[stop]]
        on_page = np.arange(stop - start)[:, None] * width + lists
        found = np.isin(rows * width + targets, on_page)
        counts[start:stop] = np.bincount(rows[found], minlength=stop - start)
    return counts


def _has_past(log: Interactions) -> Bool[np.ndarray, " events"]:
    return log.before > log.offsets[log.users]


def _steps(log: Interactions, events: Bool[np.ndarray, " events"]) -> Cases:
    """Every step among the events that has a past, as a case."""
    starts = np.unique(log.before[events & _has_past(log)])
    ends = np.searchsorted(log.before, starts, side="right")
    return cases_between(log, log.users[starts], starts, ends)
