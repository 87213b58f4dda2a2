"""The rules of §3.3, each with a test of its name."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.layers.routing import (
    B2IRouting,
    RoutingConfig,
    active_interests,
    compute_coupling,
    dynamic_routing,
    num_interests,
    route,
    squash,
)
from tests import algorithm1
from tests.conftest import unchecked

DIM = 5


def draw(seed, batch, length, most, lengths=None):
    """Random behaviours in float64, a mask with the given lengths, and Gaussian logits."""
    generator = torch.Generator().manual_seed(seed)
    behaviors = torch.randn(batch, length, DIM, dtype=torch.float64, generator=generator)
    logits = torch.randn(batch, most, length, dtype=torch.float64, generator=generator)
    lengths = torch.full((batch,), length) if lengths is None else torch.tensor(lengths)
    mask = torch.arange(length) < lengths[:, None]
    return behaviors * mask[:, :, None], mask, logits


def module(config, seed=0):
    return B2IRouting(DIM, config, generator=torch.Generator().manual_seed(seed)).double()


@given(
    seed=st.integers(0, 2**31),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    iterations=st.integers(1, 4),
    most=st.integers(1, 5),
)
def test_routing_equals_algorithm_1(seed, lengths, iterations, most):
    behaviors, mask, logits = draw(seed, len(lengths), 12, most, lengths)
    routing = module(RoutingConfig.paper(max_interests=most, iterations=iterations))
    result = routing(behaviors, mask, logits)
    for user, length in enumerate(lengths):
        interests, weights = algorithm1.route(
            behaviors[user, :length].tolist(),
            routing.bilinear_map.tolist(),
            logits[user, :, :length].tolist(),
            iterations,
            most,
        )
        count = len(interests)
        torch.testing.assert_close(
            result.vectors[user, :count], torch.tensor(interests, dtype=torch.float64)
        )
        torch.testing.assert_close(
            result.coupling[user, :count, :length], torch.tensor(weights, dtype=torch.float64)
        )


def test_gradient_of_the_last_iteration_equals_algorithm_1_with_constant_coupling():
    """Numerical derivative of squash(sum of w S e) with w held fixed, against autograd."""
    behaviors, mask, logits = draw(3, 1, 6, 2)
    routing = module(RoutingConfig.paper(max_interests=2, gradient="last"))
    routing(behaviors, mask, logits).vectors.sum().backward()
    gradient = routing.bilinear_map.grad
    assert gradient is not None
    s = routing.bilinear_map.detach()
    _, weights = algorithm1.route(behaviors[0].tolist(), s.tolist(), logits[0].tolist(), 3, 2)

    def total(s):
        votes = behaviors[0] @ s.T
        summed = torch.tensor(weights, dtype=torch.float64) @ votes
        return sum(sum(algorithm1.squash(z)) for z in summed.tolist())

    assert_numerical_gradient(gradient, s, lambda s: total(s.double()))


def test_gradient_through_all_iterations_equals_algorithm_1():
    behaviors, mask, logits = draw(4, 1, 6, 2)
    routing = module(RoutingConfig.paper(max_interests=2, gradient="all"))
    routing(behaviors, mask, logits).vectors.sum().backward()
    gradient = routing.bilinear_map.grad
    assert gradient is not None

    def total(s):
        interests, _ = algorithm1.route(behaviors[0].tolist(), s.tolist(), logits[0].tolist(), 3, 2)
        return sum(map(sum, interests))

    assert_numerical_gradient(gradient, routing.bilinear_map.detach(), total)


def assert_numerical_gradient(gradient, at, function, step=1e-6):
    assert gradient.abs().max() > 1e-3  # otherwise anything would agree
    for index in np.ndindex(*at.shape):
        shift = torch.zeros_like(at)
        shift[index] = step
        numerical = (function(at + shift) - function(at - shift)) / (2 * step)
        assert gradient[index].item() == pytest.approx(numerical, abs=1e-7)


@pytest.mark.parametrize("softmax_over", ["interests", "behaviors"])
@given(seed=st.integers(0, 2**31), length=st.integers(1, 9), padding=st.integers(1, 20))
def test_padding_length_changes_nothing(softmax_over, seed, length, padding):
    config = RoutingConfig.paper(softmax_over=softmax_over)
    behaviors, mask, logits = draw(seed, 2, length, 4)
    wide_behaviors, wide_mask, wide_logits = draw(seed + 1, 2, length + padding, 4)
    wide_behaviors[:, :length], wide_behaviors[:, length:] = behaviors, 0
    wide_logits[:, :, :length], wide_mask[:, length:] = logits, False
    short = module(config)(behaviors, mask, logits)
    wide = module(config)(wide_behaviors, wide_mask, wide_logits)
    torch.testing.assert_close(wide.vectors, short.vectors)
    assert (wide.coupling[:, :, length:] == 0).all()


@given(seed=st.integers(0, 2**31), length=st.integers(2, 10))
def test_permuting_behaviors_with_their_logits_changes_nothing(seed, length):
    behaviors, mask, logits = draw(seed, 1, length, 3)
    order = torch.randperm(length, generator=torch.Generator().manual_seed(seed))
    routing = module(RoutingConfig.paper(max_interests=3))
    before = routing(behaviors, mask, logits)
    after = routing(behaviors[:, order], mask, logits[:, :, order])
    torch.testing.assert_close(after.vectors, before.vectors)
    torch.testing.assert_close(after.coupling, before.coupling[:, :, order])


@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(0, 9), min_size=2, max_size=5))
def test_batch_equals_single(seed, lengths):
    behaviors, mask, logits = draw(seed, len(lengths), 9, 4, lengths)
    routing = module(RoutingConfig.paper())
    together = routing(behaviors, mask, logits)
    for user in range(len(lengths)):
        one = slice(user, user + 1)
        alone = routing(behaviors[one], mask[one], logits[one])
        torch.testing.assert_close(alone.vectors, together.vectors[one])


def test_no_state_between_calls():
    behaviors, mask, logits = draw(0, 3, 8, 4)
    routing = module(RoutingConfig.paper())
    before = {name: value.clone() for name, value in routing.state_dict().items()}
    first = routing(behaviors, mask, logits)
    routing(*draw(1, 3, 8, 4))
    again = routing(behaviors, mask, logits)
    assert torch.equal(first.vectors, again.vectors)
    assert list(before) == ["bilinear_map"], "S is all that routing may remember"
    assert torch.equal(before["bilinear_map"], routing.bilinear_map)


@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_coupling_sums_to_one_over_interests(seed, lengths):
    behaviors, mask, logits = draw(seed, len(lengths), 9, 4, lengths)
    weights = module(RoutingConfig.paper())(behaviors, mask, logits).coupling
    torch.testing.assert_close(weights.sum(1), mask.double())


@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_coupling_sums_to_one_over_behaviors_in_the_other_reading(seed, lengths):
    behaviors, mask, logits = draw(seed, len(lengths), 9, 4, lengths)
    result = module(RoutingConfig.paper(softmax_over="behaviors"))(behaviors, mask, logits)
    torch.testing.assert_close(result.coupling.sum(2), result.active.double())


@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_inactive_interests_take_no_part_in_routing(seed, lengths):
    """The logits of inactive interests have no effect."""
    behaviors, mask, logits = draw(seed, len(lengths), 20, 6, lengths)
    routing = module(RoutingConfig.paper(max_interests=6))
    result = routing(behaviors, mask, logits)
    changed = logits + 50 * (~result.active)[:, :, None]
    assert torch.equal(routing(behaviors, mask, changed).vectors, result.vectors)
    assert (result.vectors[~result.active] == 0).all()
    assert (result.coupling[~result.active] == 0).all()


@pytest.mark.parametrize("most", [1, 3, 4, 7, 20])
def test_number_of_interests_for_1_to_1000_behaviors(most):
    lengths = torch.arange(1, 1001)
    expected = torch.tensor([max(1, min(most, n.bit_length() - 1)) for n in range(1, 1001)])
    assert torch.equal(num_interests(lengths, most), expected)
    assert torch.equal(active_interests(lengths, most, adaptive=True).sum(1), expected)
    assert active_interests(lengths, most, adaptive=False).all()


def test_number_of_interests_by_hand():
    lengths = torch.tensor([0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 1000])
    assert num_interests(lengths, 4).tolist() == [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4]


@given(seed=st.integers(0, 2**31))
def test_zero_logits_make_all_interests_identical(seed):
    behaviors, mask, logits = draw(seed, 2, 16, 4)
    vectors = module(RoutingConfig.paper())(behaviors, mask, torch.zeros_like(logits)).vectors
    torch.testing.assert_close(vectors, vectors[:, :1].expand_as(vectors))
    spread = module(RoutingConfig.paper())(behaviors, mask, logits).vectors
    assert (spread - spread[:, :1]).abs().max() > 1e-3


def test_one_interest_makes_every_weight_one():
    """The K=1 theorem: under Eq. 6 over interests, routing does nothing for MIND-1."""
    behaviors, mask, logits = draw(0, 3, 9, 1, [9, 4, 1])
    routing = module(RoutingConfig.paper(max_interests=1))
    result = routing(behaviors, mask, logits)
    assert torch.equal(result.coupling[:, 0], mask.double())
    summed = (behaviors @ routing.bilinear_map.T).sum(1)
    torch.testing.assert_close(result.vectors[:, 0], squash(summed))


def test_gradient_all_reaches_the_initial_logits():
    behaviors, mask, logits = draw(0, 2, 8, 3)
    logits.requires_grad_()
    module(RoutingConfig.paper(max_interests=3, gradient="all"))(
        behaviors, mask, logits
    ).vectors.sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() > 0


def test_routing_separates_two_planted_groups():
    """Behaviours in two orthogonal groups: one interest each, for most random logits."""
    generator = torch.Generator().manual_seed(0)
    draws, behaviors = 200, torch.zeros(1, 8, DIM)
    behaviors[:, :4, 0], behaviors[:, 4:, 1] = 4, 4
    logits = torch.randn(draws, 2, 8, generator=generator)
    weights, _ = route(
        behaviors.expand(draws, -1, -1),
        torch.eye(DIM),
        torch.ones(draws, 8, dtype=torch.bool),
        torch.ones(draws, 2, dtype=torch.bool),
        logits,
        RoutingConfig.paper(max_interests=2, iterations=5),
    )
    of_group = weights.unflatten(2, (2, 4)).mean(3)
    parted = (of_group.argmax(2)[:, 0] != of_group.argmax(2)[:, 1]).float().mean()
    assert parted > 0.8


def test_a_user_without_behaviors_gets_a_finite_vector():
    for softmax_over in ("interests", "behaviors"):
        config = RoutingConfig.paper(softmax_over=softmax_over)
        result = module(config)(*draw(0, 2, 4, 4, [0, 3]))
        assert (result.vectors[0] == 0).all()
        assert result.active[0].tolist() == [True, False, False, False]
        assert result.vectors.isfinite().all()


@given(seed=st.integers(0, 2**31), scale=st.floats(1e-6, 1e6))
def test_squash_keeps_direction_and_bounds_length(seed, scale):
    z = scale * torch.randn(3, DIM, dtype=torch.float64, generator=torch.manual_seed(seed))
    length, squared = squash(z).norm(dim=1), z.norm(dim=1) ** 2
    assert (length <= 1).all()
    torch.testing.assert_close(length, squared / (1 + squared))
    direction = z / z.norm(dim=1, keepdim=True)
    torch.testing.assert_close(squash(z) / length[:, None], direction)


def test_squash_of_zero_is_zero_with_a_finite_gradient():
    z = torch.zeros(1, DIM, requires_grad=True)
    squash(z).sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_dynamic_routing_with_shared_votes_is_b2i_routing():
    """Sabour's form with S_ij = S for every pair, and Gaussian logits, is B2I's."""
    behaviors, mask, logits = draw(2, 2, 16, 4)
    routing = module(RoutingConfig.paper(gradient="all"))
    votes = (behaviors @ routing.bilinear_map.T)[:, None].expand(-1, 4, -1, -1)
    capsules, weights = dynamic_routing(votes, 3, logits=logits)
    shared = routing(behaviors, mask, logits)
    torch.testing.assert_close(capsules, shared.vectors)
    torch.testing.assert_close(weights, shared.coupling)


def test_masking_after_a_softmax_over_behaviors_would_shrink_interests():
    """Why the order of mask and softmax is a rule: the weights would not sum to 1."""
    mask = torch.arange(50) < 5
    logits = torch.zeros(1, 1, 50)
    right = compute_coupling(logits, ~mask[None, None], "behaviors")
    wrong = logits.softmax(2) * mask
    assert right.sum() == pytest.approx(1)
    assert wrong.sum() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_interests": 0}, "max_interests=0: expected 1 to 10,000"),
        ({"iterations": 0}, "iterations=0: expected 1 to 10,000"),
        ({"sigma": -1.0}, "sigma=-1.0: expected 0 to 1,000,000"),
        ({"sigma": math.nan}, "sigma=nan"),
        ({"softmax_over": "items"}, "softmax_over='items': expected 'interests' or"),
        ({"gradient": "first"}, "gradient='first': expected 'all' or 'last'"),
        ({"initial_logits": "zeros"}, "initial_logits='zeros': expected 'farthest' or 'gaussian'"),
        ({"agreement": "l2"}, "agreement='l2': expected 'cosine' or 'dot'"),
        ({"capsule": "sum"}, "capsule='sum': expected 'mean' or 'squash'"),
        ({"inverse_temperature": 0.0}, "inverse_temperature=0.0: expected 1e-06 to 1,000,000"),
        ({"inverse_temperature": math.inf}, "inverse_temperature=inf: expected 1e-06 to 1,000,000"),
        ({"inverse_temperature": math.nan}, "inverse_temperature=nan: expected a number"),
    ],
)
def test_bad_routing_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        unchecked(RoutingConfig, **options)


def test_the_readings_are_the_documented_ones_unless_asked_otherwise():
    shared = dict(max_interests=4, iterations=3, sigma=1.0, adaptive=True, softmax_over="interests",
                  shrinkage=False)  # fmt: skip
    assert vars(RoutingConfig.paper()) == shared | dict(
        initial_logits="gaussian", agreement="dot", inverse_temperature=1.0,
        capsule="squash", identity_map=False, gradient="last",
    )  # fmt: skip
    assert vars(RoutingConfig()) == shared | dict(
        initial_logits="farthest", agreement="cosine", inverse_temperature=4.0,
        capsule="mean", identity_map=True, gradient="all",
    )  # fmt: skip


def test_no_gradient_reaches_the_logits_of_the_paper():
    """The coupling is a constant for the gradient: only the last weighted sum is derived."""
    behaviors, mask, logits = draw(0, 2, 8, 4)
    behaviors.requires_grad_()
    logits.requires_grad_()
    routing = module(RoutingConfig.paper())
    capsules = routing(behaviors, mask, logits)
    assert not capsules.coupling.requires_grad
    capsules.vectors.sum().backward()
    assert logits.grad is None
    for gradient in (behaviors.grad, routing.bilinear_map.grad):
        assert gradient is not None
        assert gradient.abs().max() > 0
