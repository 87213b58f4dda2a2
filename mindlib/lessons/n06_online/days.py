"""A log day by day: the input of each daily refresh, and the next day's cases that evaluate it.

A refresh after day t may use the events, the catalogue and the vocabularies of the days up to t.
The events of day t + 1 are used for evaluation only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mindlib.data.interactions import Interactions
from mindlib.online.refresh.days import DAY, HeldOutCases, build_day_cases, day_numbers


@dataclass(frozen=True)
class Day:
    """The data available at the end of a day, and the next day's cases.

    Attributes:
        number: t.
        log: the events up to day t, with the catalogue of these events.
        next_day: the items of day t + 1, for each user who has a history.
    """

    number: int
    log: Interactions
    next_day: HeldOutCases


def iterate_days(log: Interactions, first: int, last: int) -> Iterator[Day]:
    """Iterate over the days `first` to `last` of a log.

    Args:
        log: events after day `last` + 1 are not read.

    Raises:
        ValueError: the log has no such days, or no user with a history is active on one of the
            next days.
    """
    number = day_numbers(log)
    if not 0 <= first <= last < number.max():
        raise ValueError(
            f"first={first}, last={last}: {log.name!r} has the days 0 to {number.max()}, and the "
            f"day after `last` is needed for evaluation: expected 0 <= first <= last < "
            f"{number.max()}"
        )
    for t in range(first, last + 1):
        yield Day(t, log.select(number <= t), HeldOutCases(build_day_cases(log, t + 1), log))


def spread_over_days(
    log: Interactions,
    *,
    stable_days: int = 21,
    growing_days: int = 8,
    new_users: float = 0.2,
    new_items: float = 0.2,
    seed: int,
) -> Interactions:
    """Assign timestamps to a generated log, so that its catalogue and its users grow by the day.

    Each user's events keep their order and are spread uniformly from the user's first day to the
    last day. Events with an item before its release are removed.

    Args:
        stable_days: number of days before the growth begins.
        growing_days: number of days after them, on which new users and items appear.
        new_users, new_items: fractions of the users and items that first appear on a growing day.
        seed: of all random numbers.

    Raises:
        ValueError: fewer than one day of a kind, or a fraction outside [0, 1).
    """
    if stable_days < 1 or growing_days < 1:
        raise ValueError(
            f"stable_days={stable_days}, growing_days={growing_days}: expected at least 1 of each"
        )
    for name, value in (("new_users", new_users), ("new_items", new_items)):
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value}: expected a fraction, 0 or more and below 1")
    rng = np.random.default_rng(seed)
    first_day = np.zeros(log.num_users + 1)
    release = np.zeros(log.num_items + 1)
    for start, share in ((first_day, new_users), (release, new_items)):
        is_new = rng.random(len(start)) < share
        start[is_new] = stable_days + rng.integers(growing_days, size=is_new.sum())
    # Sorting each user's uniform numbers makes the times increase along their events.
    uniform = rng.random(len(log))
    uniform = uniform[np.lexsort((uniform, log.users))]
    begin = first_day[log.users]
    time = begin + uniform * (stable_days + growing_days - begin)
    seconds = (time * DAY).astype(np.int64)
    return replace(log, timestamps=seconds).select(time >= release[log.items])
