"""A training that dies in the middle of an epoch: what it leaves, and how it goes on."""

import pytest

from mindlib.lessons.n04_training.interrupted import (
    TRAINING,
    killed,
    small_split,
    stopped_early,
    train,
)
from mindlib.lessons.n04_training.steps import same

pytestmark = pytest.mark.slow


def test_killed_in_the_second_epoch_it_ends_with_the_same_bits(tmp_path):
    split = small_split()
    steps = -(-len(split.train) // TRAINING.batch_size)
    death = killed(tmp_path / "killed", steps + 3)
    assert death.code == -9
    assert death.epochs == [1]
    assert not death.unfinished
    model, log = train(split, tmp_path / "killed")
    undisturbed, whole = train(split, tmp_path / "whole")
    weights = undisturbed.state_dict()
    assert all(same(value, weights[name]) for name, value in model.state_dict().items())
    assert [(r.epoch, r.loss, r.metrics) for r in log.log] == [
        (r.epoch, r.loss, r.metrics) for r in whole.log
    ]


def test_a_training_that_does_not_die_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="ended with 0"):
        killed(tmp_path, 10**6)


def test_two_epochs_without_a_better_value_end_it():
    done = stopped_early(small_split())
    assert len(done.log) == done.best_epoch + 2 < 60
    best = max(record["HitRate@10"] for record in done.log)
    assert done.log[done.best_epoch - 1]["HitRate@10"] == best
