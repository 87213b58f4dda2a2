"""No leakage: targets and their steps never occur in a history too early."""

import dataclasses
from collections import defaultdict
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions
from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.data.splits import (
    SPLITS,
    Cases,
    Split,
    held_out_users,
    leave_last_out,
    random_interactions,
)

SMALL = PlantedConfig(num_users=40, num_clusters=4, items_per_cluster=5, num_segments=2)
SEEDS = st.integers(0, 2**32 - 1)


def random_log(seed: int, users: int = 40, repeats: bool = False) -> Interactions:
    """Baskets of one to four items; without repeats (user, item) names an event."""
    rng = np.random.default_rng(seed)
    size = users * 12
    log = Interactions.from_frames(
        pl.DataFrame(
            {
                "user": rng.integers(100, 100 + users, size),
                "item": rng.integers(500, 530, size),
                "timestamp": rng.integers(0, 6, size),
            }
        )
    )
    return log if repeats else log.drop_repeats()


def times(log: Interactions) -> dict[tuple[int, int], int]:
    """When each user met each item."""
    events = zip(log.users.tolist(), log.items.tolist(), log.timestamps.tolist(), strict=True)
    return {(user, item): time for user, item, time in events}


def histories_of(histories: Histories) -> list[list[int]]:
    """The items of every history, by the function that exclusion uses."""
    found: list[list[int]] = [[] for _ in range(len(histories))]
    rows, items = histories.pairs()
    for row, item in zip(rows.tolist(), items.tolist(), strict=True):
        found[row].append(item)
    return found


def targets_of(cases: Cases) -> list[list[int]]:
    bounds = cases.offsets.tolist()
    return [cases.targets[a:b].tolist() for a, b in pairwise(bounds)]


def held_out_pairs(cases: Cases) -> set[tuple[int, int]]:
    users = cases.histories.users.tolist()
    return {(u, item) for u, items in zip(users, targets_of(cases), strict=True) for item in items}


def train_pairs(split: Split) -> dict[tuple[int, int], list[int]]:
    """Each training pair with its history."""
    cases = split.train[:]
    return {
        (user, item): sorted(past)
        for user, past, items in zip(
            cases.histories.users.tolist(),
            histories_of(cases.histories),
            targets_of(cases),
            strict=True,
        )
        for item in items
    }


def check_training_histories_precede_targets(log: Interactions, split: Split) -> None:
    """Each training event with a history is one sample; its history has all earlier events."""
    when, visible = times(log), times(split.log)
    trained = {pair for pair, learnt in zip(visible, split.train_events, strict=True) if learnt}
    earlier = defaultdict(list)
    for (user, item), time in visible.items():
        earlier[user].append((item, time))
    expected = {
        (user, item): sorted(i for i, time in earlier[user] if time < when[user, item])
        for user, item in trained
    }
    expected = {pair: past for pair, past in expected.items() if past}
    assert train_pairs(split) == expected
    assert split.train[:].offsets[-1] == len(expected), "each training pair once"
    counted = np.bincount([item for _, item in trained], minlength=log.num_items + 1)
    assert split.train_counts.tolist() == counted.tolist()


def check_case_histories_precede_targets(log: Interactions, split: Split, cases: Cases) -> None:
    """The history of a case has all visible events before the first of its targets."""
    when, visible = times(log), times(split.log)
    assert len(cases) > 0
    users = cases.histories.users.tolist()
    assert len(users) == len(set(users))
    for user, past, targets in zip(
        users, histories_of(cases.histories), targets_of(cases), strict=True
    ):
        assert targets
        assert len(targets) == len(set(targets))
        start = min(when[user, item] for item in targets)
        before = [i for (u, i), time in visible.items() if u == user and time < start]
        assert before
        assert sorted(past) == sorted(before)


def check_no_leakage(log: Interactions, split: Split) -> None:
    check_training_histories_precede_targets(log, split)
    check_case_histories_precede_targets(log, split, split.validation)
    check_case_histories_precede_targets(log, split, split.test)
    held_out = held_out_pairs(split.validation) | held_out_pairs(split.test)
    assert not held_out & train_pairs(split).keys()
    assert not held_out_pairs(split.validation) & held_out_pairs(split.test)


@given(SEEDS)
def test_no_leakage_leave_last_out(seed: int):
    log = random_log(seed)
    split = leave_last_out(log)
    check_no_leakage(log, split)
    # No training history contains a held-out event.
    held_out = held_out_pairs(split.validation) | held_out_pairs(split.test)
    users = split.train[:].histories.users.tolist()
    seen = {
        (u, i)
        for u, past in zip(users, histories_of(split.train[:].histories), strict=True)
        for i in past
    }
    assert not held_out & seen


@given(SEEDS)
def test_no_leakage_held_out_users(seed: int):
    log = random_log(seed)
    split = held_out_users(log, seed % 100)
    check_no_leakage(log, split)
    validation = set(split.validation.histories.users.tolist())
    test = set(split.test.histories.users.tolist())
    train = set(log.users[split.train_events].tolist())
    assert not train & (validation | test)
    assert not validation & test
    assert len(train) == log.num_users - 2 * (log.num_users // 10)


@given(SEEDS)
def test_no_leakage_random(seed: int):
    log = random_log(seed)
    split = random_interactions(log, seed % 100)
    check_no_leakage(log, split)
    # Held-out events occur in no history.
    held_out = held_out_pairs(split.validation) | held_out_pairs(split.test)
    for histories in (split.train[:].histories, split.validation.histories, split.test.histories):
        for user, past in zip(histories.users.tolist(), histories_of(histories), strict=True):
            assert not held_out & {(user, item) for item in past}


@given(SEEDS)
def test_leave_last_out_keeps_steps_whole(seed: int):
    log = random_log(seed, repeats=True)
    split = leave_last_out(log)
    steps = defaultdict(lambda: defaultdict(set))
    for user, item, time in zip(
        log.users.tolist(), log.items.tolist(), log.timestamps.tolist(), strict=True
    ):
        steps[user][time].add(item)
    evaluated = {user for user, of in steps.items() if len(of) >= 3}
    for cases, place in ((split.validation, -2), (split.test, -1)):
        users = cases.histories.users.tolist()
        assert set(users) == evaluated
        for user, targets in zip(users, targets_of(cases), strict=True):
            assert set(targets) == steps[user][sorted(steps[user])[place]]
    # A user with fewer steps is used for training, with all of their events.
    for event, (user, time) in enumerate(
        zip(log.users.tolist(), log.timestamps.tolist(), strict=True)
    ):
        held_out = user in evaluated and time in sorted(steps[user])[-2:]
        assert split.train_events[event] == (not held_out)


@given(SEEDS)
def test_held_out_users_predict_about_the_last_fifth(seed: int):
    log = random_log(seed)
    split = held_out_users(log, 0)
    sizes = np.diff(log.offsets)
    for user, past, targets in zip(
        split.test.histories.users.tolist(),
        histories_of(split.test.histories),
        targets_of(split.test),
        strict=True,
    ):
        assert len(past) + len(targets) == sizes[user]
        assert len(past) <= max(1, int(0.8 * sizes[user]))


def test_random_holds_out_a_twentieth_for_each_part():
    log = random_log(0, users=400)
    split = random_interactions(log, 0)
    assert len(split.log) / len(log) == pytest.approx(0.9, abs=0.02)
    assert split.log.num_items == log.num_items  # ids stay those of the whole log
    assert split.train_events.all()
    assert (split.test.offsets.diff() == 1).all()


@pytest.mark.parametrize("name", SPLITS)
def test_splits_are_deterministic_for_a_seed(name: str):
    log = random_log(1)
    first, second = SPLITS[name](log, 7), SPLITS[name](log, 7)
    assert first.test.targets.tolist() == second.test.targets.tolist()
    assert first.test.histories.users.tolist() == second.test.histories.users.tolist()
    if name != "leave-last-out":
        other = SPLITS[name](log, 8)
        assert first.test.histories.users.tolist() != other.test.histories.users.tolist()


def test_rows_and_slices_agree_with_the_offsets():
    cases = leave_last_out(random_log(2)).test
    expected = [row for row, items in enumerate(targets_of(cases)) for _ in items]
    assert cases.rows.tolist() == expected
    for rows in (slice(3), slice(2, 5), slice(4, None), slice(3, 3), slice(5, 2)):
        some = cases[rows]
        assert targets_of(some) == targets_of(cases)[rows]
        assert histories_of(some.histories) == histories_of(cases.histories)[rows]
    assert len(cases[: 10**6]) == len(cases)
    with pytest.raises(ValueError, match="step 2: expected consecutive cases"):
        cases[::2]


def log_of(steps: int, users: int) -> Interactions:
    rows = [(user, step, step) for user in range(users) for step in range(steps)]
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    return Interactions.from_frames(frame)


def test_logs_too_small_to_split_are_refused():
    with pytest.raises(ValueError, match="a user with three steps; none of the 4 users"):
        leave_last_out(log_of(steps=2, users=4))
    with pytest.raises(ValueError, match="at least 10; 'log' has 9"):
        held_out_users(log_of(steps=5, users=9), 0)
    with pytest.raises(ValueError, match=r"none of the 1 validation users .* two steps"):
        held_out_users(log_of(steps=1, users=10), 0)
    with pytest.raises(ValueError, match="needs a larger log"):
        random_interactions(log_of(steps=1, users=20), 0)


def test_every_part_of_a_split_and_its_log_decides_the_digest():
    split = leave_last_out(planted_interests(SMALL, seed=0).log)
    again = leave_last_out(planted_interests(SMALL, seed=0).log)
    assert again.digest == split.digest
    log, features, titles = split.log, split.log.item_features, split.log.titles
    assert features
    assert titles
    codes = features.codes.copy()
    codes[1, 0] += 1
    of_the_log = {
        "timestamps": log.timestamps + 1,
        "items": log.items[::-1].copy(),
        "user_ids": np.r_[log.user_ids[:1], log.user_ids[:0:-1]],
        "item_ids": np.r_[log.item_ids[:1], log.item_ids[:0:-1]],
        "titles": (*titles[:-1], "another title"),
        "item_features": dataclasses.replace(features, codes=codes),
    }
    changes = [
        {"name": "another"},
        {"train_events": np.r_[~split.train_events[:1], split.train_events[1:]]},
        {"validation": split.validation[: len(split.validation) - 1]},
        {"test": split.test[: len(split.test) - 1]},
        *({"log": dataclasses.replace(log, **{name: x})} for name, x in of_the_log.items()),
    ]
    for change in changes:
        assert dataclasses.replace(split, **change).digest != split.digest, change
