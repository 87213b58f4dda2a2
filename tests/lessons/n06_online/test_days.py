"""A log day by day: the events so far, and the cases of the next day; growing logs."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import assume, given

from mindlib.data import Catalogue, PlantedConfig, planted_interests
from mindlib.lessons.n06_online.days import iterate_days, spread_over_days
from mindlib.online.refresh.days import DAY, day_numbers
from tests.online.refresh.test_days import (
    EVENTS,
    LOG,
    events_of,
    expected,
    histories_and_targets,
    log_of,
)

pytestmark = pytest.mark.slow


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
    ],
)
def test_impossible_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
