"""The exercises of notebook 01 agree with mindlib and show what they are meant to show."""

import torch

from mindlib.layers.routing import dynamic_routing
from mindlib.lessons.n01_routing.exercises import HARD_ROUTING, ROUTE_BATCH, VOTES


def test_the_batch_is_routed_as_by_mindlib():
    expected = dynamic_routing(VOTES, 3)[0]
    torch.testing.assert_close(ROUTE_BATCH.solution(VOTES, 3), expected)


def test_hard_routing_gives_every_behavior_to_the_first_interest_in_iteration_1():
    capsules = HARD_ROUTING.solution(VOTES[0], 1)
    assert capsules[0].norm() > 0
    assert not capsules[1:].any()
