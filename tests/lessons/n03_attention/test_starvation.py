"""Interests that learn nothing: starved in training, idle at the end."""

import itertools
import math

import pytest
import torch

from mindlib.data.histories import Histories
from mindlib.data.splits import Cases
from mindlib.lessons.n03_attention import starvation
from mindlib.lessons.n03_attention.starvation import FreeInterests, free_interests, idle_interests
from tests.lessons.n03_attention.test_attention_study import Fixed

pytestmark = pytest.mark.slow


def test_idle_interests_by_hand():
    # Both users' next item is 1; the first has had item 4, the second item 2. The first user's
    # items choose interests 2 and 1; the second has one interest, which is used.
    cases = Cases(Histories.from_lists([[4], [2]]), torch.tensor([1, 1]), torch.arange(3), 4)
    assert idle_interests(Fixed(), cases).tolist() == [0, 0]
    model = Fixed()
    model.interest = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]], [[1.0, 0.0], [9.0, 9.0]]])
    assert idle_interests(model, cases).tolist() == [0.5, 0]


def test_starved_is_too_little_attention_and_idle_is_no_item():
    found = FreeInterests(
        torch.tensor([[0.5, 0.495, 0.005, 0.0], [0.25, 0.25, 0.25, 0.25]]),
        torch.tensor([[0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]], dtype=torch.float64),
        torch.zeros(2, 3),
    )
    assert found.starved.tolist() == [0.5, 0]
    assert found.idle.tolist() == [0.5, 0.75]


@pytest.mark.parametrize("power", [0.0, 2.0, math.inf])
def test_free_interests_learn_and_every_item_chooses_one(power):
    found = free_interests(power, draws=5, steps=40)
    assert found.chosen.sum(1).tolist() == pytest.approx([1] * 5)
    assert found.received.sum(1).tolist() == pytest.approx([1] * 5)
    assert found.losses.shape == (5, 40)
    assert found.losses[:, -5:].mean() < found.losses[:, :5].mean()
    if power == 0:
        torch.testing.assert_close(found.received, torch.full((5, 4), 0.25))


def test_free_interests_starve_under_the_argmax_and_not_under_a_soft_choice():
    hard, soft, mean = (free_interests(p, draws=100) for p in (math.inf, 1.0, 0.0))
    assert hard.starved.mean() > 0.08
    assert soft.starved.mean() == 0
    assert mean.starved.mean() == 0
    assert mean.idle.mean() > 0.05  # fed alike, yet made for nothing


def test_what_is_received_is_that_of_the_second_half(monkeypatch):
    step = itertools.count()

    def one_after_the_other(scores, active, power):
        return torch.eye(4)[next(step)].expand_as(scores)

    monkeypatch.setattr(starvation, "attention_weights", one_after_the_other)
    received = free_interests(1.0, draws=2, steps=4).received
    assert received.tolist() == [[0, 0, 0.5, 0.5]] * 2


def test_free_interests_are_the_same_for_the_same_seed():
    first, second = (free_interests(1.0, draws=3, steps=5, seed=4) for _ in range(2))
    assert torch.equal(first.received, second.received)
    assert torch.equal(first.losses, second.losses)
