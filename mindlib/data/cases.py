"""Cases: histories with the items that came next, stored (to evaluate) or derived (to train)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions

CASES_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Cases:
    """Histories, and for each the set of items that came next.

    Training samples one of them as the target; evaluation compares a list with all of them.
    Case n has the targets `targets[offsets[n]:offsets[n + 1]]`, at least one, without repeats.
    They are retrieved from the items 1..num_items.
    """

    histories: Histories
    targets: Int[Tensor, " targets"]
    offsets: Int[Tensor, " cases_plus_one"]
    num_items: int

    def __len__(self) -> int:
        return len(self.histories)

    @cached_property
    def rows(self) -> Int[Tensor, " targets"]:
        """The index of the case of each target."""
        return torch.repeat_interleave(torch.arange(len(self)), self.offsets.diff())

    def on(self, log: Histories) -> Cases:
        """Copy the cases to the device of `log`, which has a copy of their flat log there."""
        device, own = log.items.device, self.histories
        starts, ends, users = (part.to(device) for part in (own.starts, own.ends, own.users))
        histories = replace(log, starts=starts, ends=ends, users=users)
        return Cases(histories, self.targets.to(device), self.offsets.to(device), self.num_items)

    def __getitem__(self, rows: slice) -> Cases:
        """Select consecutive cases.

        Raises:
            ValueError: the slice has a step.
        """
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"a slice with step {step}: expected consecutive cases")
        stop = max(start, stop)
        offsets = self.offsets[start : stop + 1]
        targets = self.targets[int(offsets[0]) : int(offsets[-1])]
        histories = self.histories.select(slice(start, stop))
        return Cases(histories, targets, offsets - offsets[0], self.num_items)


class TrainingCases:
    """The cases of many steps of a log, each of which is built when it is selected.

    Args:
        log: the log with the steps.
        first, last: True for the first and for the last event of each step, which are stored in
            two bits each.
    """

    def __init__(
        self,
        log: Interactions,
        first: Bool[np.ndarray, " events"],
        last: Bool[np.ndarray, " events"],
    ) -> None:
        self.log, self.first, self.last = log, EventSet(first), EventSet(last)

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, rows: Int[np.ndarray, " rows"] | slice) -> Cases:
        """Build some of the cases, in the order of `rows`; `[:]` builds all."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        starts, ends = self.first.find(rows), self.last.find(rows) + 1
        users = np.searchsorted(self.log.offsets, starts, side="right") - 1
        return build_cases(self.log, users, starts, ends)

    @cached_property
    def of_user(self) -> Int[np.ndarray, " users_plus_one"]:
        """The number of cases of each user; entry 0 is 0."""
        return np.diff(self.first.count_before(self.log.offsets))

    def blocks(self) -> Iterator[Cases]:
        """Build all cases, block by block."""
        for start in range(0, len(self), CASES_AT_ONCE):
            yield self[start : start + CASES_AT_ONCE]


class EventSet:
    """The events of a mask, of which it finds the n-th, in two bits for each event of the log."""

    def __init__(self, mask: Bool[np.ndarray, " events"]) -> None:
        packed = np.packbits(mask)
        packed = np.pad(packed, (0, 8 + -len(packed) % 8))  # one word more, for `count_before`
        self.words = packed.view(">u8").astype(np.uint64)  # 64 events each
        counts = np.bitwise_count(self.words)
        self.before = np.r_[0, counts.cumsum(dtype=np.int64)]  # events in the words before

    def __len__(self) -> int:
        return int(self.before[-1])

    def count_before(self, events: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return how many events of the set come before each of these."""
        place, rest = np.divmod(events, 64)
        words = self.words[place] >> np.uint64(1) >> (63 - rest).astype(np.uint64)
        return self.before[place] + np.bitwise_count(words)

    def find(self, n: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """Return the n-th events of the set, counted from 0; faster if n is sorted."""
        place = np.searchsorted(self.before, n, side="right") - 1
        words, n, events = self.words[place], n - self.before[place], 64 * place
        for width in (32, 16, 8, 4, 2, 1):  # skip this many events if the n-th is not among them
            counts = np.bitwise_count(words >> np.uint64(64 - width))
            is_later = n >= counts
            n = n - is_later * counts
            words = np.where(is_later, words << np.uint64(width), words)
            events += is_later * width
        return events


def histories_at(
    log: Interactions, users: Int[np.ndarray, " cases"], ends: Int[np.ndarray, " cases"]
) -> Histories:
    """The histories of `users` that end at `ends`, on the flat log."""
    profiles = log.profiles.codes if log.profiles else np.zeros((log.num_users + 1, 0), np.int64)
    return Histories(
        items=torch.from_numpy(log.items),
        starts=torch.from_numpy(log.offsets[users]),
        ends=torch.from_numpy(ends),
        users=torch.from_numpy(users),
        profiles=torch.from_numpy(profiles),
    )


def build_cases(
    log: Interactions,
    users: Int[np.ndarray, " cases"],
    starts: Int[np.ndarray, " cases"],
    ends: Int[np.ndarray, " cases"],
) -> Cases:
    """Build cases whose targets are the distinct items of the events starts..ends of each user."""
    events = replace(histories_at(log, users, ends), starts=torch.from_numpy(starts))
    rows, items = (part.numpy() for part in events.pairs())
    pairs = np.sort(rows * (log.num_items + 1) + items)
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # np.unique takes longer
    rows, targets = np.divmod(pairs, log.num_items + 1)
    return Cases(
        histories_at(log, users, starts),
        torch.from_numpy(targets),
        torch.from_numpy(np.searchsorted(rows, np.arange(len(users) + 1))),
        log.num_items,
    )
