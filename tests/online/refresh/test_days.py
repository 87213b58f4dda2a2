"""The data of a day and the cases of the next one, against plain Python; no event leaks."""

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
    unique_by=lambda event: (event[0], event[2]),  # no baskets, so that time orders the events
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


def histories_and_targets(cases: Cases, log: Interactions) -> dict[int, tuple[list[int], set[int]]]:
    """The history and the targets of each user, in original ids."""
    past = cases.histories
    return {
        log.user_ids[int(past.users[row])]: (
            log.item_ids[past.items[int(past.starts[row]) : int(past.ends[row])].numpy()].tolist(),
            set(log.item_ids[cases.targets[cases.rows == row].numpy()].tolist()),
        )
        for row in range(len(cases))
    }


def expected(events: list[tuple[int, int, int]], evening: int) -> dict:
    """The same by definition, for users with a history who are active on the next day."""
    start = min(time for *_, time in events) // DAY
    past, then = defaultdict(list), defaultdict(set)
    for user, item, time in sorted(events, key=lambda event: event[2]):
        if time // DAY - start <= evening:
            past[user].append(item)
        elif time // DAY - start == evening + 1:
            then[user].add(item)
    return {user: (past[user], then[user]) for user in then if past[user]}


@given(EVENTS)
def test_a_day_has_the_log_so_far_and_the_cases_of_the_next_day(events):
    log = log_of(events)
    last = int(day_numbers(log).max())
    start = min(time for *_, time in events) // DAY
    for t in range(last):
        right = expected(events, t)
        if not right:
            with pytest.raises(ValueError, match=f"active on day {t + 1}"):
                list(iterate_days(log, t, t))
            continue
        (day,) = iterate_days(log, t, t)
        assert sorted(events_of(day.log)) == sorted(
            event for event in events if event[2] // DAY - start <= t
        )
        assert set(day.log.item_ids[1:]) == {item for _, item, _ in events_of(day.log)}
        assert histories_and_targets(day.next_day.cases, day.next_day.log) == right


@given(EVENTS, EVENTS)
def test_later_events_do_not_change_the_data_of_a_day(events, others):
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
def test_cases_are_encoded_for_any_catalogue(events, known):
    log = log_of(events)
    t = int(day_numbers(log).max()) - 1
    right = expected(events, max(t, 0))
    assume(t >= 0 and right)
    (day,) = iterate_days(log, t, t)
    catalogue = Catalogue(tuple(sorted(known, reverse=True)), ("segment",), (("unknown", "y"),))
    encoded = day.next_day.encode_for(catalogue)
    assert len(encoded) == len(right)
    assert encoded.num_items == len(known)
    histories = encoded.histories
    for row, user in enumerate(sorted(right)):
        items = histories.items[int(histories.starts[row]) : int(histories.ends[row])].tolist()
        assert items == catalogue.encode_items([i for i in right[user][0] if i in known])
        targets = encoded.targets[encoded.rows == row].tolist()
        hits = [target for target in targets if target <= len(known)]
        assert sorted(hits) == sorted(
            catalogue.encode_items([i for i in right[user][1] if i in known])
        )
        assert len(targets) == len(right[user][1])
        code = int(histories.profiles[histories.users[row], 0])
        assert code == catalogue.encode_profile({"segment": SEGMENTS[user % 3]})[0]
    # A list of the whole catalogue misses exactly the unknown targets.
    everything = Popularity(np.ones(len(known) + 1, dtype=np.int64))
    found = evaluate(everything, encoded, (len(known),), exclude_history=False)
    shares = [len(then & known) / len(then) for _, (_, then) in sorted(right.items())]
    assert found.values[f"Recall@{len(known)}"].tolist() == pytest.approx(shares)


@given(EVENTS, st.floats(0.1, 0.9), st.sampled_from([None, 1, 2]), st.integers(0, 3))
def test_held_out_events_are_not_in_the_training_events(events, share, recent, seed):
    log = log_of(events)
    last = int(day_numbers(log).max())
    right = expected(events, last - 1) if last else {}
    assume(len(right) > 1)
    try:
        split = hold_out_newest_day(log, share=share, recent_days=recent, seed=seed)
    except ValueError:  # so small a log may have no training case left
        reject()
    held_out = histories_and_targets(split.validation, log) | histories_and_targets(split.test, log)
    assert len(held_out) == len(split.validation) + len(split.test)  # no user is in both
    assert len(held_out) == max(2, round(share * len(right)))
    assert held_out.items() <= right.items()
    days_of = day_numbers(log)
    for place, (user, _, _) in enumerate(events_of(log)):
        learnt = days_of[place] < last or user not in held_out
        learnt &= recent is None or days_of[place] > last - recent
        assert split.train_events[place] == learnt
    # The history of a training case has no held-out event either.
    seen = int(split.train.histories.pairs()[0].numel())
    hidden = np.isin(log.user_ids[log.users], list(held_out)) & (days_of == last)
    for start, end in zip(split.train.histories.starts, split.train.histories.ends, strict=True):
        assert not hidden[int(start) : int(end)].any()
    assert seen > 0


def held_out(log: Interactions, share: float, recent_days: int | None = None, seed: int = 0):
    return hold_out_newest_day(log, share=share, recent_days=recent_days, seed=seed)


def test_the_held_out_users_depend_on_the_seed():
    log = spread_over_days(planted_interests(PlantedConfig(num_users=60), seed=0).log, seed=0)
    one, same, other = (held_out(log, 0.5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.test.histories.users, same.test.histories.users)
    assert not torch.equal(one.test.histories.users, other.test.histories.users)


def test_spreading_keeps_each_users_order_and_adds_users_and_items_on_growing_days():
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
    # With 24 events in ten days few of the others appear that late by chance.
    assert 0.2 < (first_of_user[1:] >= 10).mean() < 0.4
    assert 0.15 < (first_of_item[1:] >= 10).mean() < 0.35
    # Apart from new users and items, all days have similarly many events.
    per_day = np.bincount(number)
    assert per_day[:10].max() < 1.6 * per_day[:10].min()
    assert len(spread_over_days(world.log, new_users=0.0, new_items=0.0, seed=0)) == len(world.log)


LOG = log_of([(0, 10, DAY), (0, 11, 2 * DAY), (1, 11, 2 * DAY)])
BOTH = log_of([(u, 10 + day, (1 + day) * DAY) for u in (0, 1) for day in (0, 1)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spread_over_days(LOG, stable_days=0, seed=0), "stable_days=0"),
        (lambda: spread_over_days(LOG, growing_days=0, seed=0), "growing_days=0"),
        (lambda: spread_over_days(LOG, new_users=1.0, seed=0), r"new_users=1\.0"),
        (lambda: spread_over_days(LOG, new_items=-0.1, seed=0), r"new_items=-0\.1"),
        (lambda: list(iterate_days(LOG, 0, 1)), "last=1: .* has the days 0 to 1"),
        (lambda: list(iterate_days(LOG, -1, 0)), "first=-1"),
        (lambda: list(iterate_days(LOG, 1, 0)), "expected 0 <= first <= last < 1"),
        (lambda: held_out(LOG, 0.5), "1 users with a history are active on the last day"),
        (lambda: held_out(LOG, 0.0), r"share=0\.0"),
        (lambda: held_out(LOG, 1.0), r"share=1\.0"),
        (lambda: held_out(LOG, 0.5, recent_days=0), "recent_days=0"),
        (lambda: held_out(BOTH, 0.9, recent_days=1), "no training case"),
    ],
)
def test_impossible_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_profiles_are_unknown_if_the_log_has_none_or_other_fields():
    log = replace(LOG, profiles=None)
    (day,) = iterate_days(log, 0, 0)
    encoded = day.next_day.encode_for(Catalogue((10, 11), ("age",), (("unknown", "35"),)))
    assert encoded.histories.window(3).profile.tolist() == [[0]]
