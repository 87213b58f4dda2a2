"""Three ways to split a log into training, validation and test data (§4.1).

In all of them a behaviour belongs to a target's history only if it happened *strictly before*:
products of one basket share a timestamp, and none of them may reveal another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int

from mindlib.data.cases import Cases, TrainingCases, build_cases, histories_at
from mindlib.data.interactions import Interactions

EVENTS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Split:
    """A log, the mask of its training events, and the held-out cases.

    Attributes:
        log: the events that may occur in histories. (In the random split it does not contain the
            held-out events.)
        train_events: True for the events that training may use.
        validation, test: held out for model selection and for the final evaluation.
    """

    name: str
    log: Interactions
    train_events: Bool[np.ndarray, " events"]
    validation: Cases
    test: Cases

    @cached_property
    def train(self) -> TrainingCases:
        """One case for every training step with a history: its items are the targets."""
        log = self.log
        first, last = np.zeros((2, len(log)), dtype=bool)
        begins = np.r_[np.arange(0, len(log), EVENTS_AT_ONCE), len(log)]
        # Blocks begin with a user; a block may be empty.
        begins = log.offsets[np.searchsorted(log.offsets, begins)]
        for begin, end in pairwise(np.unique(begins).tolist()):
            users, times = log.users[begin:end], log.timestamps[begin:end]
            starts = np.flatnonzero(np.r_[True, (np.diff(users) != 0) | (np.diff(times) != 0)])
            is_chosen = np.r_[False, np.diff(users[starts]) == 0]  # the step has a history
            is_chosen &= np.logical_or.reduceat(self.train_events[begin:end], starts)
            first[begin + starts[is_chosen]] = True
            last[begin + np.r_[starts[1:], end - begin][is_chosen] - 1] = True
        return TrainingCases(log, first, last)

    @cached_property
    def train_counts(self) -> Int[np.ndarray, " items_plus_one"]:
        """The number of training events of each item; entry 0 is 0."""
        counts = np.zeros(self.log.num_items + 1, dtype=np.int64)
        for start in range(0, len(self.log), EVENTS_AT_ONCE):
            block = slice(start, start + EVENTS_AT_ONCE)
            events = self.log.items[block][self.train_events[block]]
            counts += np.bincount(events, minlength=len(counts))
        return counts

    @cached_property
    def digest(self) -> str:
        """The sha256 of the log, its features, and the cases of each part."""
        digest = hashlib.sha256()
        _feed(digest, self)
        return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    """Add every part of a value with its type and size, so that no two values look the same."""
    if isinstance(value, torch.Tensor):
        value = value.cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    elif isinstance(value, np.ndarray | list | tuple):
        digest.update(f"{len(value)} parts {json.dumps([str(x) for x in value])}".encode())
    elif is_dataclass(value):
        for field in fields(value):
            digest.update(f"\0{field.name}\0".encode())
            _feed(digest, getattr(value, field.name))
    else:
        digest.update(repr(value).encode())


def leave_last_out(log: Interactions) -> Split:
    """Hold out each user's last step for test and the step before it for validation.

    A step is the set of a user's events with one timestamp: one interaction in most logs, a
    basket in some. Users with fewer than three steps are used for training only.

    Raises:
        ValueError: no user has three steps.
    """
    ends = log.offsets[2:]
    starts = log.offsets[1:-1]
    last = log.step_starts(ends - 1)
    second = log.step_starts(np.maximum(last - 1, 0))
    held_out = (last > starts) & (second > starts)
    if not held_out.any():
        raise ValueError(
            f"leave-last-out needs a user with three steps; none of the {log.num_users} users of "
            f"{log.name!r} has them: use the random split, or data with longer histories"
        )
    users = np.flatnonzero(held_out) + 1
    changes = np.zeros(len(log) + 1, dtype=np.int8)  # 1 where held-out events begin, -1 after them
    changes[second[held_out]] = 1
    changes[ends[held_out]] = -1
    train_events = np.cumsum(changes, dtype=np.int8, out=changes)[:-1] == 0
    return Split(
        name="leave-last-out",
        log=log,
        train_events=train_events,
        validation=build_cases(log, users, second[held_out], last[held_out]),
        test=build_cases(log, users, last[held_out], ends[held_out]),
    )


def held_out_users(log: Interactions, seed: int) -> Split:
    """Split users 8:1:1; a held-out user's first 80 % predict the last 20 % (ComiRec's protocol).

    Raises:
        ValueError: fewer than ten users, or none of the held-out ones has two steps.
    """
    if log.num_users < 10:
        raise ValueError(
            f"users are divided 8:1:1, which needs at least 10; {log.name!r} has {log.num_users}"
        )
    order = np.random.default_rng(seed).permutation(log.num_users) + 1
    tenth = log.num_users // 10
    parts = {"validation": order[:tenth], "test": order[tenth : 2 * tenth]}
    cases = {}
    for part, users in parts.items():
        users = np.sort(users)
        starts, ends = log.offsets[users], log.offsets[users + 1]
        # At least one event stays on each side; a basket at the cut belongs to the targets.
        cut = starts + np.clip(((ends - starts) * 0.8).astype(np.int64), 1, None)
        cut = log.step_starts(np.minimum(cut, ends - 1))
        has_history = cut > starts
        if not has_history.any():
            raise ValueError(
                f"none of the {len(users)} {part} users of {log.name!r} has two steps, so no "
                f"history precedes a target; use data with longer histories"
            )
        cases[part] = build_cases(log, users[has_history], cut[has_history], ends[has_history])
    is_trained = np.ones(log.num_users + 1, dtype=bool)
    is_trained[np.r_[parts["validation"], parts["test"]]] = False
    return Split("held-out users 8:1:1", log, is_trained[log.users], **cases)


def random_interactions(log: Interactions, seed: int) -> Split:
    """Split interactions 19:1 at random, with one target per user (the paper's protocol).

    A twentieth of the events is the test set and, since the paper mentions no validation set,
    another twentieth the validation set. One of each user's held-out events, sampled at random, is
    the target; the user's behaviours before it are the history. Held-out events occur in no
    history, so training never contains a test pair, unless the log has repeats: then another
    event of the pair may be visible.

    Raises:
        ValueError: the log is too small to hold out an event for test and validation.
    """
    rng = np.random.default_rng(seed)
    part = rng.choice(3, size=len(log), p=(0.90, 0.05, 0.05))
    visible = part == 0
    # Histories are gathered from the visible events only; ids remain those of the whole log.
    seen = replace(
        log,
        users=log.users[visible],
        items=log.items[visible],
        timestamps=log.timestamps[visible],
    )
    visible_before = np.r_[0, np.cumsum(visible)][log.step_starts(np.arange(len(log)))]
    cases = []
    for number in (1, 2):
        events = rng.permutation(np.flatnonzero(part == number))
        events = events[visible_before[events] > seen.offsets[log.users[events]]]
        events = events[np.unique(log.users[events], return_index=True)[1]]
        if not len(events):
            raise ValueError(
                f"a twentieth of the {len(log)} interactions of {log.name!r} leaves no target "
                f"with a history; the random split needs a larger log"
            )
        histories = histories_at(seen, log.users[events], visible_before[events])
        targets = torch.from_numpy(log.items[events])
        cases.append(Cases(histories, targets, torch.arange(len(events) + 1), log.num_items))
    return Split("random 19:1", seen, np.ones(len(seen), dtype=bool), *cases)


SPLITS: dict[str, Callable[[Interactions, int], Split]] = {
    "leave-last-out": lambda log, seed: leave_last_out(log),
    "held-out-users": held_out_users,
    "random": random_interactions,
}
