"""Routing taken apart: the same numbers as the form in use, and the claims about what it climbs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.layers.routing import dynamic_routing, squash
from mindlib.lessons.n01_routing.agreement import (
    climb,
    divergence,
    evenness,
    length_cost,
    rounds_in_words,
    route_and_record,
    routing_by_loops,
    squash_derivatives,
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


def test_rounds_in_words_has_every_number():
    votes = draw(0, 3, 2, 2)
    rounds = route_and_record(votes[None], 2)
    text = rounds_in_words(votes, rounds)
    for part in rounds:
        for value in part.flatten().tolist():
            assert f"{value:.3f}" in text
    agreement = torch.einsum("hd,lhd->lh", rounds.capsules[1, 0], votes)
    assert f"{agreement[2, 1].item():.3f}" in text.splitlines()[-1]


@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 5))
def test_divergence_is_the_distance_to_the_best_coupling(seed, scale):
    now, a, other = scale * draw(seed, 3, 5, 4)
    w, before = other.softmax(1), now.softmax(1)
    evenly = (w * a).sum(1) + torch.special.entr(w).sum(1)
    torch.testing.assert_close(evenly, a.logsumexp(1) - divergence(other, a))
    inertly = (w * a).sum(1) - (w * (w / before).log()).sum(1)
    best = (before * a.exp()).sum(1).log()
    torch.testing.assert_close(inertly, best - divergence(other, now + a))
    assert (divergence(other, a) >= -1e-12).all()


def test_divergence_survives_weights_that_underflow():
    new, now = torch.tensor([[0.0, 2000.0]]).double(), torch.tensor([[0.0, 1000.0]]).double()
    assert divergence(new, now).item() == 0
    assert divergence(-new, now).item() == pytest.approx(1000)


def test_evenness_goes_from_all_or_nothing_to_even():
    w = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.2, 0.2], [0, 0, 0]]).double()
    expected = [0, math.log(2) / math.log(3), 1, 0]
    assert evenness(w).tolist() == pytest.approx(expected)


def test_squash_derivatives_are_those_of_its_formula():
    s = torch.linspace(0, 5, 30, dtype=torch.float64)
    along, across = squash_derivatives(s)
    torch.testing.assert_close(along, 2 * s / (1 + s**2) ** 2)
    torch.testing.assert_close(across, s / (1 + s**2))


def test_climb_is_agreement_entropy_and_distance_of_each_round():
    votes = draw(0, 3, 5, 4, 2)
    rounds = route_and_record(votes, 4)
    made = climb(rounds, votes)
    w = rounds.coupling
    torch.testing.assert_close(made.agreement, total_agreement(w, votes))
    torch.testing.assert_close(made.with_entropy - made.agreement, -(w * w.log()).sum((2, 3)))
    torch.testing.assert_close(made.moved, (w[1:] * (w[1:] / w[:-1]).log()).sum((2, 3)))
