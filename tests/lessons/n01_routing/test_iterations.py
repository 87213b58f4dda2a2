"""Each iteration is recorded as the function that is followed returns it."""

import pytest
import torch

from mindlib.layers.routing import dynamic_routing
from mindlib.lessons.n01_routing.iterations import Iterations, follow, planted_votes, settled


def test_follow_records_capsules_weights_and_centered_logits(generator):
    votes = planted_votes(5, generator)
    seen = follow(dynamic_routing, votes, 4)
    logits = torch.zeros(5, 3, 12)
    for t in range(4):
        u, w = dynamic_routing(votes, t + 1)
        torch.testing.assert_close(seen.capsules[t], u)
        torch.testing.assert_close(seen.weights[t], w)
        expected = logits - logits.mean(1, keepdim=True)
        torch.testing.assert_close(seen.logits[t], expected, atol=1e-4, rtol=1e-4)
        logits = logits + (u[:, :, None] * votes).sum(3)


def test_a_group_agrees_in_its_votes_for_its_own_capsule_only(generator):
    votes = planted_votes(200, generator)
    unit = torch.nn.functional.normalize(votes, dim=3)
    for j in range(3):
        cosines = unit[:, j] @ unit[:, j].transpose(1, 2)
        own = slice(4 * j, 4 * j + 4)
        assert float(cosines[:, own, own].min()) > 0.5
        assert abs(float(cosines[:, :4, 4:8].mean())) < 0.05
    assert float(votes.norm(dim=3).mean()) == pytest.approx(2, rel=0.02)


def test_settled_compares_with_the_last_iteration():
    w = torch.tensor([[0.5, 0.5], [0.96, 0.04], [1.0, 0.0]])[:, None, :, None]
    u = torch.tensor([[0.0, 1.0], [1.0, 0.1], [1.0, 0.0]])[:, None, None].expand(-1, 1, 2, 2)
    capsules, weights = settled(Iterations(w, w, u))
    assert capsules[:, 0].tolist() == weights[:, 0].tolist() == [False, True, True]
