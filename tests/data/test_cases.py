import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import splits
from mindlib.data.cases import EventSet
from mindlib.data.splits import leave_last_out
from tests.data.test_splits import SEEDS, histories_of, random_log, targets_of


@given(st.integers(0, 300), SEEDS, st.floats(0, 1))
def test_the_nth_event_of_a_set_is_that_of_the_mask(size: int, seed: int, share: float):
    mask = np.random.default_rng(seed).random(size) < share
    found, expected = EventSet(mask), np.flatnonzero(mask)
    assert len(found) == len(expected)
    rows = np.random.default_rng(seed).permutation(len(expected))
    np.testing.assert_array_equal(found.find(rows), expected[rows])
    before = np.r_[0, np.cumsum(mask)]
    np.testing.assert_array_equal(found.count_before(np.arange(size + 1)), before)


@given(SEEDS)
def test_training_cases_are_selected_in_any_order(seed: int):
    cases = leave_last_out(random_log(seed, repeats=True)).train
    past, targets = histories_of(cases[:].histories), targets_of(cases[:])
    rows = np.random.default_rng(seed).permutation(len(cases))[:17]
    some = cases[rows]
    assert histories_of(some.histories) == [past[row] for row in rows]
    assert targets_of(some) == [targets[row] for row in rows]
    assert len(cases[:0]) == 0


@pytest.mark.parametrize("size", [1, 7, 60])
def test_blocks_do_not_change_the_training_cases(size: int, monkeypatch: pytest.MonkeyPatch):
    log = random_log(0, repeats=True)
    whole = leave_last_out(log)
    expected, counts = whole.train[:], whole.train_counts
    monkeypatch.setattr(splits, "EVENTS_AT_ONCE", size)
    split = leave_last_out(log)
    np.testing.assert_array_equal(split.train_counts, counts)
    for name, value in vars(expected.histories).items():
        assert torch.equal(getattr(split.train[:].histories, name), value)
    assert torch.equal(split.train[:].targets, expected.targets)
    assert torch.equal(split.train[:].offsets, expected.offsets)


def test_a_step_is_a_case_if_any_of_its_events_is_for_training():
    log = random_log(1)
    split = leave_last_out(log)
    starts = log.step_starts(np.arange(len(log)))
    last = np.r_[np.diff(starts) > 0, True]
    only_last = splits.Split("last", log, split.train_events & last, split.validation, split.test)
    assert targets_of(only_last.train[:]) == targets_of(split.train[:])
