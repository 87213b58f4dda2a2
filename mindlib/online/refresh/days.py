"""Held-out cases of a daily refresh: events of the newest day, for evaluation only.

A day is a UTC day, counted from that of the log's first event.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """Held-out cases that can evaluate models of different catalogues.

    Attributes:
        cases: encoded by `log`.
        log: defines the item numbers and profile codes of `cases`.
    """

    cases: Cases
    log: Interactions

    def __len__(self) -> int:
        return len(self.cases)

    def encode_for(self, catalogue: Catalogue) -> Cases:
        """Return the same cases in the item numbers and profile codes of a catalogue.

        Behaviors with items that the catalogue lacks are left out, as in serving
        (`Catalogue.drop_unknown`); unknown profile values get code 0. Targets that the catalogue
        lacks are kept, under a number that no list contains, so that they count as misses.
        """
        log, cases, histories = self.log, self.cases, self.cases.histories
        known_ids = {item: number for number, item in enumerate(catalogue.item_ids, 1)}
        numbers = torch.tensor([0, *(known_ids.get(item, 0) for item in log.item_ids[1:].tolist())])
        items = numbers[histories.items]
        num_known = torch.cat([items.new_zeros(1), (items > 0).cumsum(0)])
        known = items[items > 0]
        targets = numbers[cases.targets]
        return Cases(
            Histories(
                # Gathering from an empty tensor would fail.
                known if len(known) else items.new_zeros(1),
                num_known[histories.starts],
                num_known[histories.ends],
                histories.users,
                torch.from_numpy(_encode_profiles(log, catalogue)),
            ),
            targets.masked_fill(targets == 0, len(catalogue) + 1),
            cases.offsets,
            len(catalogue),
        )


def day_numbers(log: Interactions) -> Int[np.ndarray, " events"]:
    """Return the day of each event; the log's first day is 0."""
    days = log.timestamps // DAY
    return days - days.min()


def hold_out_newest_day(log: Interactions, *, share: float, seed: int) -> Split:
    """Split the log of a refresh: hold out the last day's events of a random sample of users.

    One half of these users chooses the epoch (validation), the other half evaluates the version
    (test). The current version was trained before that day, so both versions can be compared on
    the same cases. The next refresh trains on these events like on any others.

    Args:
        log: the events up to the day of the refresh.
        share: fraction held out of the users who have a history and are active on the last day; at
            least two users are held out.

    Raises:
        ValueError: fewer than two users qualify, or no training case is left.
    """
    number = day_numbers(log)
    last = int(number.max())
    active = build_day_cases(log, last).histories.users.numpy()
    if len(active) < 2:
        raise ValueError(
            f"{len(active)} users with a history are active on the last day of {log.name!r}: "
            f"expected at least two, one for validation and one for the gate; refresh after a "
            f"busier day"
        )
    sample = np.random.default_rng(seed).permutation(active)[: max(2, round(share * len(active)))]
    train_events = ~(np.isin(log.users, sample) & (number == last))
    halves = np.sort(sample[: len(sample) // 2]), np.sort(sample[len(sample) // 2 :])
    validation, test = (build_day_cases(log, last, users) for users in halves)
    split = Split(f"newest day {last}", log, train_events, validation, test)
    if not len(split.train):
        raise ValueError(
            f"without the held-out events of the last day {log.name!r} has no training case; "
            f"choose a smaller share than {share}"
        )
    return split


def build_day_cases(
    log: Interactions, day: int, users: Int[np.ndarray, " users"] | None = None
) -> Cases:
    """Build the cases of a day, one for each user; by default of all active ones with a history."""
    number = day_numbers(log)
    earlier, today = (
        np.bincount(log.users[events], minlength=log.num_users + 1)
        for events in (number < day, number == day)
    )
    if users is None:
        users = np.flatnonzero((earlier > 0) & (today > 0))
    starts = log.offsets[users] + earlier[users]
    return build_cases(log, users, starts, starts + today[users])


def _encode_profiles(log: Interactions, catalogue: Catalogue) -> Int[np.ndarray, "users fields"]:
    """Return the users' profiles in a catalogue's codes."""
    codes = np.zeros((log.num_users + 1, len(catalogue.fields)), dtype=np.int64)
    own = log.profiles
    for column, field in enumerate(catalogue.fields):
        if own is not None and field in own.fields:
            # Code 0 means "unknown" in both; the same word may also be the name of a value.
            known = {name: code for code, name in enumerate(catalogue.vocabularies[column]) if code}
            names = own.vocabularies[own.fields.index(field)][1:]
            codes[:, column] = np.array([0, *(known.get(n, 0) for n in names)])[own.column(field)]
    return codes
