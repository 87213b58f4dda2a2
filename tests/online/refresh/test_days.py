"""What is known on an evening, and what judges it, against plain Python; nothing leaks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from mindlib.data import Catalogue, Interactions, PlantedConfig, planted_interests
from mindlib.data.splits import Cases
from mindlib.evaluation import evaluate
from mindlib.models import Popularity
from mindlib.online.refresh.days import (
    DAY,
    HeldOutCases,
    day_numbers,
    hold_out_newest_day,
    iterate_days,
    spread_over_days,
)

LAST = 4
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(10, 17), st.integers(3 * DAY, (3 + LAST + 1) * DAY - 1)
    ),
    min_size=8,
    max_size=60,
    unique_by=lambda event: (event[0], event[2]),  # no baskets: the order is the times'
)
SEGMENTS = ("x", "y", "z")


def log_of(events: list[tuple[int, int, int]]) -> Interactions:
    user, item, time = zip(*events, strict=True)
    return Interactions.from_frames(
        pl.DataFrame({"user": user, "item": item, "timestamp": time}),
        users=pl.DataFrame({"user": range(6), "segment": [SEGMENTS[u % 3] for u in range(6)]}),
        profile_fields=["segment"],
    )


def events_of(log: Interactions) -> list[tuple[int, int, int]]:
    return list(
        zip(log.user_ids[log.users], log.item_ids[log.items], log.timestamps.tolist(), strict=True)
    )


def told(cases: Cases, log: Interactions) -> dict[int, tuple[list[int], set[int]]]:
    """For each user her past and her targets, in original ids."""
    past = cases.histories
    return {
        log.user_ids[int(past.users[row])]: (
            log.item_ids[past.items[int(past.starts[row]) : int(past.ends[row])].numpy()].tolist(),
            set(log.item_ids[cases.targets[cases.rows == row].numpy()].tolist()),
        )
        for row in range(len(cases))
    }


def expected(events: list[tuple[int, int, int]], evening: int) -> dict:
    """The same of the users who have a past and come on the next day."""
    start = min(time for *_, time in events) // DAY
    past, then = defaultdict(list), defaultdict(set)
    for user, item, time in sorted(events, key=lambda event: event[2]):
        if time // DAY - start <= evening:
            past[user].append(item)
        elif time // DAY - start == evening + 1:
            then[user].add(item)
    return {user: (past[user], then[user]) for user in then if past[user]}


@given(EVENTS)
def test_an_evening_knows_the_days_so_far_and_is_judged_by_the_next(events):
    log = log_of(events)
    last = int(day_numbers(log).max())
    start = min(time for *_, time in events) // DAY
    for t in range(last):
        right = expected(events, t)
        if not right:
            with pytest.raises(ValueError, match=f"comes on day {t + 1}"):
                list(iterate_days(log, t, t))
            continue
        (day,) = iterate_days(log, t, t)
        assert sorted(events_of(day.log)) == sorted(
            event for event in events if event[2] // DAY - start <= t
        )
        assert set(day.log.item_ids[1:]) == {item for _, item, _ in events_of(day.log)}
        assert told(day.next_day.cases, day.next_day.log) == right


@given(EVENTS, EVENTS)
def test_what_happens_later_changes_nothing_that_an_evening_knows(events, others):
    log = log_of(events)
    t = int(day_numbers(log).max()) - 1
    start = min(time for *_, time in events) // DAY
    assume(t >= 0 and expected(events, t))
    early = [event for event in events if event[2] // DAY - start <= t]
    late = [e for e in others if e[2] // DAY - start > t]
    other = log_of(early + late)
    assume(late and expected(early + late, t))
    (one,), (two,) = iterate_days(log, t, t), iterate_days(other, t, t)
    for name, value in vars(one.log).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(two.log, name)), name
    assert Catalogue.from_log(one.log).fingerprint == Catalogue.from_log(two.log).fingerprint


@given(EVENTS, st.sets(st.integers(10, 17), min_size=1))
def test_any_catalogue_can_be_asked_in_its_own_numbers(events, known):
    log = log_of(events)
    t = int(day_numbers(log).max()) - 1
    right = expected(events, max(t, 0))
    assume(t >= 0 and right)
    (day,) = iterate_days(log, t, t)
    catalogue = Catalogue(tuple(sorted(known, reverse=True)), ("segment",), (("unknown", "y"),))
    asked = day.next_day.encode_for(catalogue)
    assert len(asked) == len(right)
    assert asked.num_items == len(known)
    past = asked.histories
    for row, user in enumerate(sorted(right)):
        items = past.items[int(past.starts[row]) : int(past.ends[row])].tolist()
        assert items == catalogue.encode_items([i for i in right[user][0] if i in known])
        targets = asked.targets[asked.rows == row].tolist()
        hits = [target for target in targets if target <= len(known)]
        assert sorted(hits) == sorted(
            catalogue.encode_items([i for i in right[user][1] if i in known])
        )
        assert len(targets) == len(right[user][1])
        code = int(past.profiles[past.users[row], 0])
        assert code == catalogue.encode_profile({"segment": SEGMENTS[user % 3]})[0]
    # Whoever does not know an item has missed it, and whoever lists everything has the rest.
    everything = Popularity(np.ones(len(known) + 1, dtype=np.int64))
    found = evaluate(everything, asked, (len(known),), exclude_history=False)
    shares = [len(then & known) / len(then) for _, (_, then) in sorted(right.items())]
    assert found.values[f"Recall@{len(known)}"].tolist() == pytest.approx(shares)


@given(EVENTS, st.floats(0.1, 0.9), st.sampled_from([None, 1, 2]), st.integers(0, 3))
def test_tonights_split_learns_nothing_of_what_is_held_out(events, share, recent, seed):
    log = log_of(events)
    last = int(day_numbers(log).max())
    right = expected(events, last - 1) if last else {}
    assume(len(right) > 1)
    try:
        split = hold_out_newest_day(log, share=share, recent_days=recent, seed=seed)
    except ValueError:  # in so small a log there may be nothing left to learn from
        reject()
    held_out = told(split.validation, log) | told(split.test, log)
    assert len(held_out) == len(split.validation) + len(split.test)  # nobody is in both
    assert len(held_out) == max(2, round(share * len(right)))
    assert held_out.items() <= right.items()
    days_of = day_numbers(log)
    for place, (user, _, _) in enumerate(events_of(log)):
        learnt = days_of[place] < last or user not in held_out
        learnt &= recent is None or days_of[place] > last - recent
        assert split.train_events[place] == learnt
    # Nor is a held-out event in the past of any training case.
    seen = int(split.train.histories.pairs()[0].numel())
    hidden = np.isin(log.user_ids[log.users], list(held_out)) & (days_of == last)
    for start, end in zip(split.train.histories.starts, split.train.histories.ends, strict=True):
        assert not hidden[int(start) : int(end)].any()
    assert seen > 0


def test_who_is_held_out_hangs_on_the_seed_alone():
    log = spread_over_days(planted_interests(PlantedConfig(num_users=60), seed=0).log, seed=0)
    one, same, other = (
        hold_out_newest_day(log, share=0.5, recent_days=None, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one.test.histories.users, same.test.histories.users)
    assert not torch.equal(one.test.histories.users, other.test.histories.users)


def test_over_days_keeps_each_users_order_and_lets_users_and_items_come_late():
    world = planted_interests(PlantedConfig(num_users=200, num_clusters=6), seed=0)
    log = spread_over_days(
        world.log, stable_days=10, growing_days=5, new_users=0.3, new_items=0.25, seed=0
    )
    number = day_numbers(log)
    assert number.max() == 14
    whole = defaultdict(list)
    for user, item, _ in events_of(world.log):
        whole[user].append(item)
    ours = defaultdict(list)
    for user, item, _ in events_of(log):
        ours[user].append(item)
    for user, items in ours.items():
        kept = [item for item in whole[user] if item in items]
        assert items == kept
    first_of_user = np.full(log.num_users + 1, 99)
    np.minimum.at(first_of_user, log.users, number)
    first_of_item = np.full(log.num_items + 1, 99)
    np.minimum.at(first_of_item, log.items, number)
    # The others are there from the beginning: with 24 events in ten days few come late by chance.
    assert 0.2 < (first_of_user[1:] >= 10).mean() < 0.4
    assert 0.15 < (first_of_item[1:] >= 10).mean() < 0.35
    # Events are as many on one day as on another, but for who and what comes late.
    per_day = np.bincount(number)
    assert per_day[:10].max() < 1.6 * per_day[:10].min()
    assert len(spread_over_days(world.log, new_users=0.0, new_items=0.0, seed=0)) == len(world.log)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stable_days": 0}, "stable_days=0"),
        ({"growing_days": 0}, "growing_days=0"),
        ({"new_users": 1.0}, "new_users=1.0"),
        ({"new_items": -0.1}, "new_items=-0.1"),
    ],
)
def test_over_days_refuses(options, message):
    log = log_of([(0, 10, DAY), (1, 11, 2 * DAY)])
    with pytest.raises(ValueError, match=message):
        spread_over_days(log, seed=0, **options)


def test_days_that_are_not_there_are_refused():
    log = log_of([(0, 10, DAY), (0, 11, 2 * DAY), (1, 11, 3 * DAY)])
    for first, last in ((0, 2), (-1, 0), (1, 0)):
        with pytest.raises(ValueError, match="days 0 to 2"):
            list(iterate_days(log, first, last))


def test_a_split_that_cannot_be_is_refused():
    log = log_of([(0, 10, DAY), (0, 11, 2 * DAY), (1, 11, 2 * DAY)])
    with pytest.raises(ValueError, match="last day 1 users"):
        hold_out_newest_day(log, share=0.5, recent_days=None, seed=0)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="share="):
            hold_out_newest_day(log, share=share, recent_days=None, seed=0)
    with pytest.raises(ValueError, match="recent_days=0"):
        hold_out_newest_day(log, share=0.5, recent_days=0, seed=0)
    both = log_of([(u, 10 + day, (1 + day) * DAY) for u in (0, 1) for day in (0, 1)])
    with pytest.raises(ValueError, match="no training case"):
        hold_out_newest_day(both, share=0.9, recent_days=1, seed=0)


def test_a_log_without_profiles_or_with_other_fields_has_unknown_values():
    log = replace(log_of([(0, 10, DAY), (0, 11, 2 * DAY)]), profiles=None)
    (day,) = iterate_days(log, 0, 0)
    assert isinstance(day.next_day, HeldOutCases)
    asked = day.next_day.encode_for(Catalogue((10, 11), ("age",), (("unknown", "35"),)))
    assert asked.histories.window(3).profile.tolist() == [[0]]
