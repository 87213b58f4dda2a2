"""Two processes of this machine against one: started as a reader would."""

import pytest
import torch

from mindlib.lessons.n04_training.interrupted import small_split
from mindlib.lessons.n04_training.together import MODELS, TRAINING, alone, exchanged, torchrun

pytestmark = pytest.mark.slow


def test_two_processes_train_what_one_does():
    one, two = alone(small_split()), torchrun(2)
    assert tuple(one) == tuple(two) == MODELS
    torch.testing.assert_close(
        two["YouTube DNN"].losses, one["YouTube DNN"].losses, atol=1e-4, rtol=0
    )
    weights = two["YouTube DNN"].weights - one["YouTube DNN"].weights
    assert float(weights.abs().max()) < 1e-3
    assert len(two["MIND"].losses) == TRAINING.epochs
    assert abs(two["MIND"].losses[-1] - one["MIND"].losses[-1]) < 0.2
    # Other luck: the test would not notice two processes that never met, if all were the same.
    assert float((two["MIND"].weights - one["MIND"].weights).abs().max()) > 1e-3


def test_what_is_exchanged_is_rows_and_the_rest():
    found = exchanged("MIND", small_split())
    assert found.as_rows == found.rows * (8 + 16 * 4)
    assert found.rows * 16 * 4 <= found.as_table
    assert found.dense > 16 * 16 * 4  # the bilinear map alone


def test_a_torchrun_that_fails_is_an_error(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr("mindlib.lessons.n04_training.together.__name__", "mindlib.lessons.nothing")
    with pytest.raises(RuntimeError, match="torchrun ended with 1"):
        torchrun(1)
