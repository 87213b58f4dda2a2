"""A click is a behavior like any other, and interests are matched by their directions."""

import math

import pytest
import torch

from mindlib.data import leave_last_out
from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.lessons.n04_training.clicks import match_interests, turns_of_next_click
from mindlib.models import MIND


def test_interests_are_matched_by_direction_and_not_by_number():
    before = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    after = torch.tensor([[0.0, 1.0], [3.0, 3.0 * math.tan(math.radians(10))], [-1.0, 0.0]])
    first, second, third = match_interests(before, after)
    assert (first.before, second.before, third.before) == (1, 0, None)
    assert first.degrees == pytest.approx(0, abs=0.05)
    assert second.degrees == pytest.approx(10, abs=0.05)
    assert math.isnan(third.degrees)


def test_the_next_click_turns_the_interests_of_the_chosen_lengths():
    config = PlantedConfig(num_users=60, num_clusters=6, items_per_cluster=20)
    split = leave_last_out(planted_interests(config, seed=0).log)
    model = MIND(split.log, generator=torch.Generator().manual_seed(0))
    turns = turns_of_next_click(model, split.test, 5, (16, 30))
    assert turns.shape[1] == 4
    assert (turns[:, :-1] >= turns[:, 1:]).all()
    assert turns[:, 0].min() > 0
