"""Held-out cases against plain Python; no held-out event is trained on."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from mindlib.data import Catalogue, Interactions
from mindlib.data.splits import Cases
from mindlib.evaluation import evaluate
from mindlib.models import Popularity
from mindlib.online.refresh.days import (
    DAY,
    HeldOutCases,
    build_day_cases,
    day_numbers,
    hold_out_newest_day,
)
from tests.online.refresh.world import daily_logs

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


@given(EVENTS, st.sets(st.integers(10, 17), min_size=1))
def test_cases_are_encoded_for_any_catalogue(events, known):
    log = log_of(events)
    t = int(day_numbers(log).max()) - 1
    right = expected(events, max(t, 0))
    assume(t >= 0 and right)
    cases = build_day_cases(log, t + 1)
    assert histories_and_targets(cases, log) == right
    catalogue = Catalogue(tuple(sorted(known, reverse=True)), ("segment",), (("unknown", "y"),))
    encoded = HeldOutCases(cases, log).encode_for(catalogue)
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


@given(EVENTS, st.floats(0.1, 0.9), st.integers(0, 3))
def test_held_out_events_are_not_in_the_training_events(events, share, seed):
    log = log_of(events)
    last = int(day_numbers(log).max())
    right = expected(events, last - 1) if last else {}
    assume(len(right) > 1)
    try:
        split = hold_out_newest_day(log, share=share, seed=seed)
    except ValueError:  # so small a log may have no training case left
        reject()
    held_out = histories_and_targets(split.validation, log) | histories_and_targets(split.test, log)
    assert len(held_out) == len(split.validation) + len(split.test)  # no user is in both
    assert len(held_out) == max(2, round(share * len(right)))
    assert held_out.items() <= right.items()
    days_of = day_numbers(log)
    for place, (user, _, _) in enumerate(events_of(log)):
        is_trained = days_of[place] < last or user not in held_out
        assert split.train_events[place] == is_trained
    # The history of a training case has no held-out event either.
    seen = int(split.train[:].histories.pairs()[0].numel())
    hidden = np.isin(log.user_ids[log.users], list(held_out)) & (days_of == last)
    for start, end in zip(
        split.train[:].histories.starts, split.train[:].histories.ends, strict=True
    ):
        assert not hidden[int(start) : int(end)].any()
    assert seen > 0


def held_out(log: Interactions, share: float, seed: int = 0):
    return hold_out_newest_day(log, share=share, seed=seed)


def test_the_held_out_users_depend_on_the_seed():
    one, same, other = (held_out(daily_logs()[0], 0.5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.test.histories.users, same.test.histories.users)
    assert not torch.equal(one.test.histories.users, other.test.histories.users)


LOG = log_of([(0, 10, DAY), (0, 11, 2 * DAY), (1, 11, 2 * DAY)])
BOTH = log_of([(u, 10 + day, (1 + day) * DAY) for u in (0, 1) for day in (0, 1)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: held_out(LOG, 0.5), "1 users with a history are active on the last day"),
        (lambda: held_out(BOTH, 0.9), "no training case"),
    ],
)
def test_impossible_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_profiles_are_unknown_if_the_log_has_none_or_other_fields():
    log = replace(LOG, profiles=None)
    cases = HeldOutCases(build_day_cases(log, 1), log)
    encoded = cases.encode_for(Catalogue((10, 11), ("age",), (("unknown", "35"),)))
    assert encoded.histories.window(3).profile.tolist() == [[0]]
