"""Replay asks for a page before each basket, with the past until then, and counts by hand."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest
import torch

from mindlib.data import Interactions
from mindlib.models import Popularity
from mindlib.online.simulation import SlateConfig, last_weeks, rate, replay
from mindlib.retrieval import Recommendations, Recommender

DAY = 24 * 3600
DAYS, USERS, ITEMS = 70, 40, 60
PAGE = SlateConfig(max_share=0.5, length=10)


@pytest.fixture(scope="module")
def log() -> Interactions:
    """Baskets of one to four products on days at random, the last event at noon of the last."""
    rng = np.random.default_rng(0)
    baskets = [
        (user, int(item), int(day) * DAY)
        for user in range(USERS)
        for day in rng.choice(DAYS - 1, size=12, replace=False)
        for item in rng.choice(ITEMS, size=rng.integers(1, 5), replace=False)
    ]
    baskets.append((0, 0, (DAYS - 1) * DAY + DAY // 2))
    user, item, timestamp = zip(*baskets, strict=True)
    frame = pl.DataFrame({"user": user, "item": item, "timestamp": timestamp})
    return Interactions.from_frames(frame)


@dataclass
class Watched:
    inner: Recommender
    asked: list[tuple[int, list[int], list[int]]] = field(default_factory=list)

    def recommend(self, histories, n, *, exclude_history=True) -> Recommendations:
        found = self.inner.recommend(histories, n, exclude_history=exclude_history)
        for row in range(len(histories)):
            past = histories.items[int(histories.starts[row]) : int(histories.ends[row])]
            self.asked.append((int(histories.users[row]), past.tolist(), found.items[row].tolist()))
        return found


def baskets(log: Interactions, low: int, high: int) -> list[tuple[int, int, set[int], list[int]]]:
    """By hand: user, time, what was bought, what had been bought before."""
    found = []
    for user in range(1, log.num_users + 1):
        rows = np.flatnonzero(log.users == user)
        mine = list(zip(log.timestamps[rows].tolist(), log.items[rows].tolist(), strict=True))
        for time in sorted({t for t, _ in mine if low <= t < high}):
            past = [i for t, i in mine if t < time]
            if past:
                found.append((user, time, {i for t, i in mine if t == time}, past))
    return found


def test_the_parts_are_cut_by_time(log):
    split = last_weeks(log, 2, validation_weeks=3)
    end = int(log.timestamps.max()) + 1
    assert (log.timestamps[split.train_events] < end - 35 * DAY).all()
    assert split.train_events.sum() == (log.timestamps < end - 35 * DAY).sum()
    expected = baskets(log, end - 14 * DAY, end)
    found = split.test
    assert found.histories.users.tolist() == [user for user, *_ in expected]
    for row, (_, _, bought, past) in enumerate(expected):
        start, stop = found.histories.starts[row], found.histories.ends[row]
        assert found.histories.items[start:stop].tolist() == past
        targets = found.targets[found.offsets[row] : found.offsets[row + 1]].tolist()
        assert set(targets) == bought
    assert len(split.validation) == len(baskets(log, end - 35 * DAY, end - 14 * DAY))


def test_hits_are_counted_as_by_hand(log):
    split = last_weeks(log, 3, validation_weeks=1)
    watched = Watched(Popularity(split.train_counts))
    found = replay(split, {"popularity": watched}, slate=PAGE)
    end = int(log.timestamps.max()) + 1
    expected = baskets(log, end - 21 * DAY, end)
    assert [(user, past) for user, past, _ in watched.asked] == [(u, p) for u, _, _, p in expected]
    hits = [
        len(bought & set(shown[:10]))
        for (_, _, bought, _), (*_, shown) in zip(expected, watched.asked, strict=True)
    ]
    assert found.hits[0].tolist() == hits
    assert sum(hits) > 20
    assert found.targets.tolist() == [len(bought) for _, _, bought, _ in expected]


def test_shares_are_over_households(log):
    split = last_weeks(log, 3, validation_weeks=1)
    found = replay(split, {"popularity": Popularity(split.train_counts)}, slate=PAGE)
    users = np.unique(found.users)
    hits = np.array([found.hits[0, found.users == u].sum() for u in users])
    targets = np.array([found.targets[found.users == u].sum() for u in users])
    assert found.share(0) == rate(hits, targets)


def test_who_shows_what_comes_next_wins(log):
    split = last_weeks(log, 2, validation_weeks=1)
    cases = split.test

    class Knows:
        def recommend(self, histories, n, *, exclude_history=True):
            items = torch.zeros((len(histories), n), dtype=torch.int64)
            for row in range(len(histories)):
                at = int((cases.histories.ends == histories.ends[row]).nonzero()[0])
                bought = cases.targets[cases.offsets[at] : cases.offsets[at + 1]]
                items[row, : len(bought)] = bought
            return Recommendations(items, torch.zeros(items.shape))

    found = replay(
        split, {"popularity": Popularity(split.train_counts), "knows": Knows()}, slate=PAGE
    )
    assert (found.share(1).low, found.share(1).high) == (1, 1)
    gain = found.lift(1, 0)
    assert gain.value == pytest.approx(1 - found.share(0).value)
    assert gain.low > 0


def test_the_ranker_decides_what_of_the_candidates_is_shown(log):
    class Backwards:
        def score_lists(self, histories, items):
            return -items.double()

    split = last_weeks(log, 2, validation_weeks=1)
    popularity = Popularity(split.train_counts)
    found = replay(split, {"popularity": popularity}, Backwards(), PAGE)
    n = PAGE.num_candidates(split.test.num_items)
    lists = popularity.recommend(split.test.histories, n).items.sort(1).values[:, :10]
    offsets, targets = split.test.offsets.tolist(), split.test.targets.tolist()
    hits = [
        len(set(shown) & set(targets[offsets[row] : offsets[row + 1]]))
        for row, shown in enumerate(lists.tolist())
    ]
    assert found.hits[0].tolist() == hits


def test_logs_that_are_too_short_are_refused(log):
    with pytest.raises(
        ValueError, match=r"no event with a history is left for training .* 69.5 days"
    ):
        last_weeks(log, 8, validation_weeks=2)
    with pytest.raises(ValueError, match="weeks=0"):
        last_weeks(log, 0)
    with pytest.raises(ValueError, match="arms is empty"):
        replay(last_weeks(log, 2), {}, slate=PAGE)
