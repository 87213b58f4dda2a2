"""The exercises of notebook 01: solutions pass, stubs fail, each mistake is called by its name."""

import torch

from mindlib.layers.routing import dynamic_routing, squash
from mindlib.lessons.n01_routing.exercises import ROUTING_ROUND, SQUASH


def test_a_value_that_is_wrong_in_an_unknown_way_is_told_by_how_much(capsys):
    assert not SQUASH.check(lambda z: squash(z) + 0.125)
    assert "0.125" in capsys.readouterr().out


def test_squash_has_to_bear_the_zero_vector(capsys):
    def formula(z):
        length = z.norm(dim=-1, keepdim=True)
        return length**2 / (1 + length**2) * z / length

    assert not SQUASH.check(formula)
    assert "divide 0 by 0" in capsys.readouterr().out


def test_the_round_is_the_one_of_dynamic_routing():
    logits, votes = ROUTING_ROUND.examples[1]
    after = ROUTING_ROUND.solution(logits, votes)
    torch.testing.assert_close(
        dynamic_routing(votes, 1, logits=after)[0], dynamic_routing(votes, 2, logits=logits)[0]
    )
