"""Routing taken apart: the same numbers as the form in use, and the claims about what it climbs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.layers.routing import dynamic_routing, squash
from mindlib.lessons.agreement import (
    Rounds,
    groups_found,
    holds_from,
    length_cost,
    padding_trial,
    planted_votes,
    rounds_in_words,
    route_and_record,
    routing_by_loops,
    settling_rounds,
    share_with_interval,
    total_agreement,
)


def draw(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@given(
    seed=st.integers(0, 2**31),
    low=st.integers(1, 5),
    high=st.integers(1, 4),
    iterations=st.integers(1, 5),
)
def test_loops_equal_the_rounds_equal_dynamic_routing(seed, low, high, iterations):
    votes, logits = draw(seed, 2, low, high, 3), draw(seed + 1, 2, low, high)
    capsules, coupling = dynamic_routing(votes, iterations)
    loops = routing_by_loops(votes[1], iterations)
    rounds = route_and_record(votes, iterations)
    torch.testing.assert_close(loops[0], capsules[1])
    torch.testing.assert_close(loops[1], coupling[1])
    torch.testing.assert_close(rounds.capsules[-1], capsules)
    torch.testing.assert_close(rounds.coupling[-1], coupling)
    capsules, coupling = dynamic_routing(votes, iterations, logits=logits)
    rounds = route_and_record(votes, iterations, logits=logits)
    torch.testing.assert_close(rounds.capsules[-1], capsules)
    assert torch.equal(rounds.logits[0], logits)


def test_softmax_axis_says_which_weights_sum_to_one():
    votes, logits = draw(0, 3, 5, 4, 2), draw(1, 3, 5, 4)
    over_high = route_and_record(votes, 4, logits=logits)
    over_low = route_and_record(votes, 4, logits=logits, over="low")
    torch.testing.assert_close(over_high.coupling.sum(3), torch.ones(4, 3, 5, dtype=torch.float64))
    torch.testing.assert_close(over_low.coupling.sum(2), torch.ones(4, 3, 4, dtype=torch.float64))


def test_replaced_logits_are_the_agreement_and_nothing_else():
    votes, logits = draw(0, 3, 5, 4, 2), draw(1, 3, 5, 4)
    rounds = route_and_record(votes, 3, logits=logits, accumulate=False)
    agreement = torch.einsum("rbhd,blhd->rblh", rounds.capsules, votes)
    torch.testing.assert_close(rounds.logits[1:], agreement[:-1])
    rounds = route_and_record(votes, 3, logits=logits)
    torch.testing.assert_close(rounds.logits.diff(dim=0)[0], agreement[0])


def test_mask_comes_after_the_softmax():
    votes, logits = draw(0, 1, 4, 2, 3), draw(1, 1, 4, 2)
    mask = torch.tensor([[True, True, True, False]])
    rounds = route_and_record(votes, 1, logits=logits, over="low", mask=mask)
    torch.testing.assert_close(rounds.coupling[0], logits.softmax(1) * mask[:, :, None])


@pytest.mark.parametrize("options", [{"iterations": 0}, {"iterations": 2, "over": "all"}])
def test_impossible_options_are_refused(options):
    bare = getattr(route_and_record, "__wrapped__", route_and_record)
    with pytest.raises((ValueError, TypeError)):
        bare(draw(0, 1, 2, 2, 2), **options)


@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10))
def test_squash_is_the_best_capsule_for_its_cost(seed, scale):
    z = scale * draw(seed, 4)
    best = squash(z)
    value = best @ z - length_cost(best.norm())
    for other in torch.nn.functional.normalize(draw(seed + 1, 50, 4), dim=1):
        for length in (0.05, 0.3, 0.6, 0.9, 0.999):
            candidate = length * other
            assert candidate @ z - length_cost(candidate.norm()) <= value + 1e-9


def test_cost_is_zero_for_nothing_and_half_pi_for_certainty():
    cost = length_cost(torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(cost, torch.tensor([0.0, math.pi / 2], dtype=torch.float64))


def test_agreement_is_the_gradient_of_the_total():
    votes = draw(0, 3, 5, 4, 2)
    coupling = draw(1, 3, 5, 4).softmax(2).requires_grad_()
    (gradient,) = torch.autograd.grad(total_agreement(coupling, votes).sum(), coupling)
    capsules = squash(torch.einsum("blh,blhd->bhd", coupling, votes))
    torch.testing.assert_close(gradient, torch.einsum("bhd,blhd->blh", capsules, votes))


@pytest.mark.parametrize("over", ["high", "low"])
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 8))
def test_added_logits_gain_at_least_what_they_move(over, seed, scale):
    votes = scale * draw(seed, 3, 5, 4, 3)
    rounds = route_and_record(votes, 15, logits=draw(seed + 1, 3, 5, 4), over=over)
    w = rounds.coupling
    # log w from the logits: the coupling itself may underflow to 0.
    log = rounds.logits.log_softmax(3 if over == "high" else 2)
    moved = (w[1:] * (log[1:] - log[:-1])).sum((2, 3))
    assert (total_agreement(w, votes).diff(dim=0) >= moved - 1e-8).all()


@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 8))
def test_replaced_logits_never_lower_agreement_plus_entropy(seed, scale):
    votes = scale * draw(seed, 3, 5, 4, 3)
    w = route_and_record(votes, 15, accumulate=False).coupling
    value = total_agreement(w, votes) + torch.special.entr(w).sum((2, 3))
    assert (value.diff(dim=0) >= -1e-8).all()


def test_holds_from_counts_the_last_unbroken_run():
    holds = torch.tensor(
        [[True, True, False], [True, False, False], [True, True, False], [True, True, False]]
    )
    assert holds_from(holds).tolist() == [1, 3, 5]


def test_planted_groups_agree_where_they_should(generator):
    planted = planted_votes(50, noise=0.0, length=2.0, generator=generator)
    assert planted.votes.shape == (50, 12, 3, 8)
    torch.testing.assert_close(
        planted.votes.norm(dim=-1), torch.full((50, 12, 3), 2.0, dtype=torch.float64)
    )
    for i in range(12):
        group = int(planted.groups[0, i])
        torch.testing.assert_close(planted.votes[:, i, group], planted.centers[:, group])
        other = (group + 1) % 3
        assert not torch.allclose(planted.votes[:, i, other], planted.centers[:, other], atol=0.5)


def test_shared_votes_are_the_same_for_every_high_capsule(generator):
    planted = planted_votes(5, noise=0.3, shared=True, generator=generator)
    assert torch.equal(planted.votes[:, :, 0], planted.votes[:, :, 2])


def test_noise_is_as_long_as_it_says(generator):
    planted = planted_votes(500, noise=0.5, length=3.0, shared=True, generator=generator)
    own = planted.centers.gather(1, planted.groups[:, :, None].expand(-1, -1, 8))
    squared = (planted.votes[:, :, 0] - own).square().sum(-1).mean()
    assert float(squared) ** 0.5 == pytest.approx(1.5, rel=0.02)


def test_a_group_is_found_by_the_capsule_that_points_to_it():
    centers = torch.eye(3, dtype=torch.float64)[None]
    capsules = torch.tensor([[[0.9, 0.1, 0.0], [0.2, 0.1, 0.0], [0.0, 0.1, 0.7]]]).double()
    assert groups_found(capsules, centers).tolist() == [[True, False, True]]
    assert groups_found(0.01 * centers.flip(1), centers).all()


def test_rounds_in_words_has_every_number():
    votes = draw(0, 3, 2, 2)
    rounds = route_and_record(votes[None], 2)
    text = rounds_in_words(votes, rounds)
    for part in rounds:
        for value in part.flatten().tolist():
            assert f"{value:.3f}" in text
    agreement = torch.einsum("hd,lhd->lh", rounds.capsules[1, 0], votes)
    assert f"{agreement[2, 1].item():.3f}" in text.splitlines()[-1]


def test_settling_rounds_measures_against_the_last_round():
    w = torch.tensor([[0.5, 0.5], [0.8, 0.2], [0.96, 0.04], [1.0, 0.0]]).double()[:, None, None]
    u = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.1], [1.0, 0.0]]).double()[:, None, None]
    u = u.expand(-1, 1, 2, 2)
    first = settling_rounds(Rounds(w, w, u), tolerance=0.05, same_direction=0.95)
    assert [int(x) for x in first.values()] == [3, 1, 3]


def test_padding_takes_weight_over_low_capsules_only():
    votes, logits = draw(0, 6, 5, 3, 4), torch.zeros(6, 10, 3, dtype=torch.float64)
    high = padding_trial(votes, logits, 1, "high")
    low = padding_trial(votes, logits, 1, "low")
    assert high.kept == pytest.approx(1)
    assert low.kept == pytest.approx(0.5)
    torch.testing.assert_close(
        high.capsules, padding_trial(votes, logits[:, :5], 1, "high").capsules
    )
    torch.testing.assert_close(low.capsules, squash(votes.sum(1) / 10))
    assert low.length == pytest.approx(float(low.capsules.norm(dim=-1).mean()))


def test_wilson_interval():
    hits = torch.arange(400) < 100
    share, low, high = share_with_interval(hits)
    assert share == 0.25
    assert (low, high) == pytest.approx((0.2101, 0.2947), abs=1e-3)
