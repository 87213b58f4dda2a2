"""A log cut into days: what a refresh may know on the evening of a day, and what judges it.

A day is a day of UTC, and days are counted from that of the log's first event. What is known on the
evening of day t is the log of the days up to t: its events, its catalogue, its vocabularies. What
happens on day t + 1 is the judge, and nothing else sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions
from mindlib.data.splits import Cases, Split, build_cases

DAY = 24 * 60 * 60  # seconds


@dataclass(frozen=True)
class HeldOutCases:
    """Held-out cases that models of different catalogues can be asked.

    Attributes:
        cases: in the numbers of `log`.
        log: whose numbers these are.
    """

    cases: Cases
    log: Interactions

    def __len__(self) -> int:
        return len(self.cases)

    def encode_for(self, catalogue: Catalogue) -> Cases:
        """The same cases in a catalogue's own numbers.

        A behaviour with an item that the catalogue lacks is left out, as `Catalogue.drop_unknown`
        does at serving; a profile value that it lacks is unknown. A *target* that it lacks stays,
        under a number that no list has: whoever does not know the item has missed it.
        """
        log, cases, past = self.log, self.cases, self.cases.histories
        numbers = torch.from_numpy(
            _renumber(log.item_ids[1:].tolist(), catalogue.item_ids, unknown=0)
        )
        numbers = torch.cat([numbers.new_zeros(1), numbers])
        items = numbers[past.items]
        kept_before = torch.cat([items.new_zeros(1), (items > 0).cumsum(0)])
        kept = items[items > 0]
        targets = numbers[cases.targets]
        return Cases(
            Histories(
                # An empty flat log would leave nothing to gather from.
                kept if len(kept) else items.new_zeros(1),
                kept_before[past.starts],
                kept_before[past.ends],
                past.users,
                torch.from_numpy(_profiles(log, catalogue)),
            ),
            targets.masked_fill(targets == 0, len(catalogue) + 1),
            cases.offsets,
            len(catalogue),
        )


@dataclass(frozen=True)
class Day:
    """The evening of a day.

    Attributes:
        number: t.
        log: all that happened up to day t, with the catalogue of that evening.
        next_day: of each user who has a past and comes on day t + 1, what she takes then.
    """

    number: int
    log: Interactions
    next_day: HeldOutCases


def day_numbers(log: Interactions) -> Int[np.ndarray, " events"]:
    """The day of each event, the log's first day being 0."""
    days = log.timestamps // DAY
    return days - days.min()


def iterate_days(log: Interactions, first: int, last: int) -> Iterator[Day]:
    """The evenings of the days `first` to `last`, one after the other.

    Args:
        log: whole; what comes after the evening of `last` + 1 is not read.

    Raises:
        ValueError: the log has no such days, or on one of them nobody comes who has a past.
    """
    number = day_numbers(log)
    if not 0 <= first <= last < number.max():
        raise ValueError(
            f"the evenings {first} to {last}: {log.name!r} has the days 0 to {number.max()}, and "
            f"the day after an evening is its judge: choose 0 <= first <= last < {number.max()}"
        )
    for t in range(first, last + 1):
        yield Day(t, log.select(number <= t), HeldOutCases(_cases_of_day(log, number, t + 1), log))


def hold_out_newest_day(
    log: Interactions, *, share: float, recent_days: int | None, seed: int
) -> Split:
    """A split by which tonight's model can be trained and judged tonight.

    Of the users who came on the log's last day and have a past before it, a share is drawn.
    Their events of that day are not learnt from: one half of these users chooses the epoch to keep
    (validation), the other half is the gate's (test). To yesterday's model all of them are new
    too, so that both can be asked. Tomorrow these events are a past like any other.

    Args:
        log: of the days up to tonight.
        share: of the last day's users, held out; at least two are.
        recent_days: learn only what was taken on that many last days, after the whole past of
            each user (a warm start knows the rest already). None: everything.
        seed: draws the users.

    Raises:
        ValueError: an argument is out of range, fewer than two users came who have a past, or
            none is left to learn from.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share}: expected a share of the users, above 0 and below 1")
    if recent_days is not None and recent_days < 1:
        raise ValueError(f"recent_days={recent_days}: expected at least 1, or None for all days")
    number = day_numbers(log)
    last = int(number.max())
    came = _cases_of_day(log, number, last).histories.users.numpy()
    if len(came) < 2:
        raise ValueError(
            f"on its last day {len(came)} users of {log.name!r} came who have a past; expected at "
            f"least two, to choose an epoch by and to judge by: refresh after a busier day"
        )
    drawn = np.random.default_rng(seed).permutation(came)[: max(2, round(share * len(came)))]
    held_out = np.isin(log.users, drawn) & (number == last)
    train_events = ~held_out
    if recent_days is not None:
        train_events &= number > last - recent_days
    halves = np.sort(drawn[: len(drawn) // 2]), np.sort(drawn[len(drawn) // 2 :])
    validation, test = (_cases_of_day(log, number, last, users) for users in halves)
    split = Split(f"newest day {last}", log, train_events, validation, test)
    if not len(split.train):
        raise ValueError(
            f"without the held-out users' last day {log.name!r} has no training case; choose a "
            f"smaller share than {share}, or more recent_days than {recent_days}"
        )
    return split


def spread_over_days(
    log: Interactions,
    *,
    stable_days: int = 21,
    growing_days: int = 8,
    new_users: float = 0.2,
    new_items: float = 0.2,
    seed: int,
) -> Interactions:
    """Give the events of a generated log times, so that there are days.

    Each user's events keep their order and are spread evenly over all days from her first one. Of
    the users a share comes first on one of the last days, of the items a share comes out there:
    what was to happen with an item before that day does not happen.

    Args:
        stable_days: days before the last ones.
        growing_days: the last days, on which the catalogue and the users grow.
        new_users, new_items: shares of users and items.
        seed: draws all of it.

    Raises:
        ValueError: fewer than one day, or a share that is none.
    """
    if stable_days < 1 or growing_days < 1:
        raise ValueError(
            f"stable_days={stable_days}, growing_days={growing_days}: expected at least 1 of each"
        )
    for name, value in (("new_users", new_users), ("new_items", new_items)):
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value}: expected a share, 0 or more and below 1")
    rng = np.random.default_rng(seed)
    first_day = np.zeros(log.num_users + 1)
    release = np.zeros(log.num_items + 1)
    for start, share in ((first_day, new_users), (release, new_items)):
        late = rng.random(len(start)) < share
        start[late] = stable_days + rng.integers(growing_days, size=late.sum())
    # Sorted times of one user are her numbers in [0, 1) sorted: sort by (user, luck).
    luck = rng.random(len(log))
    luck = luck[np.lexsort((luck, log.users))]
    begin = first_day[log.users]
    time = begin + luck * (stable_days + growing_days - begin)
    seconds = (time * DAY).astype(np.int64)
    return replace(log, timestamps=seconds).select(time >= release[log.items])


def _cases_of_day(
    log: Interactions,
    number: Int[np.ndarray, " events"],
    day: int,
    users: Int[np.ndarray, " users"] | None = None,
) -> Cases:
    """What users who have a past take on a day; of `users`, if they are given."""
    earlier, then = (
        np.bincount(log.users[part], minlength=log.num_users + 1)
        for part in (number < day, number == day)
    )
    if users is None:
        users = np.flatnonzero((earlier > 0) & (then > 0))
        if not len(users):
            raise ValueError(
                f"nobody who has a past comes on day {day} of {log.name!r}; there is nothing to "
                f"judge by: choose a busier day"
            )
    starts = log.offsets[users] + earlier[users]
    return build_cases(log, users, starts, starts + then[users])


def _profiles(log: Interactions, catalogue: Catalogue) -> Int[np.ndarray, "users fields"]:
    """The users' profiles in a catalogue's codes."""
    codes = np.zeros((log.num_users + 1, len(catalogue.fields)), dtype=np.int64)
    if log.profiles is None:
        return codes
    for column, (field, theirs) in enumerate(
        zip(catalogue.fields, catalogue.vocabularies, strict=True)
    ):
        if field in log.profiles.fields:
            ours = log.profiles.vocabularies[log.profiles.fields.index(field)]
            # Code 0 is "unknown" in both, and may be the name of a value as well.
            known = _renumber(ours[1:], theirs[1:], unknown=0)
            codes[:, column] = np.r_[0, known][log.profiles.column(field)]
    return codes


def _renumber(
    ours: tuple | list, theirs: tuple | list, *, unknown: int
) -> Int[np.ndarray, " ours"]:
    """For each of our names its number, from 1, among theirs."""
    numbers = {name: number for number, name in enumerate(theirs, 1)}
    return np.array([numbers.get(name, unknown) for name in ours], dtype=np.int64)
