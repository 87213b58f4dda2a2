"""The tuned form of routing: cosine agreement, mean capsules, farthest-point initialization."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.layers.initial_logits import farthest_point_logits
from mindlib.layers.routing import RoutingConfig
from tests import algorithm1
from tests.layers.test_routing import DIM, assert_numerical_gradient, draw, module

SEEDS = st.integers(0, 2**31)
LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=4)


def tuned(most=4, **options):
    """The module, with a map that is not the identity."""
    routing = module(RoutingConfig(max_interests=most, **options))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        routing.bilinear_map.add_(0.3 * torch.randn(DIM, DIM, generator=generator).double())
    return routing


@given(
    seed=SEEDS,
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    iterations=st.integers(1, 4),
    most=st.integers(1, 5),
    scale=st.sampled_from([1.0, 4.0]),
)
def test_it_equals_its_iterations_in_plain_python(seed, lengths, iterations, most, scale):
    behaviors, mask, _ = draw(seed, len(lengths), 12, most, lengths)
    routing = tuned(most, iterations=iterations, inverse_temperature=scale)
    result = routing(behaviors, mask)
    for user, length in enumerate(lengths):
        interests, weights = algorithm1.route_tuned(
            behaviors[user, :length].tolist(),
            routing.bilinear_map.tolist(),
            iterations,
            most,
            scale,
        )
        count = len(interests)
        torch.testing.assert_close(
            result.vectors[user, :count], torch.tensor(interests, dtype=torch.float64)
        )
        torch.testing.assert_close(
            result.coupling[user, :count, :length], torch.tensor(weights, dtype=torch.float64)
        )
        assert (result.vectors[user, count:] == 0).all()


def summed(interests):
    """A number in which no part of an interest cancels another."""
    return sum((k + 1) * (c + 2) * x for k, row in enumerate(interests) for c, x in enumerate(row))


@pytest.mark.parametrize("learnt", ["behaviors", "bilinear_map"])
def test_its_gradient_runs_through_all_iterations_and_the_initial_logits(learnt):
    behaviors, mask, _ = draw(4, 1, 9, 3)
    routing = tuned(3)
    s = routing.bilinear_map.detach().clone()
    total = summed(routing(behaviors.requires_grad_(), mask).vectors[0])
    assert isinstance(total, torch.Tensor)
    total.backward()
    one = behaviors.detach()[0]
    at, gradient = (
        (one, behaviors.grad) if learnt == "behaviors" else (s, routing.bilinear_map.grad)
    )
    assert gradient is not None
    gradient = gradient.reshape(at.shape)

    def function(x):
        e, changed = (x, s) if learnt == "behaviors" else (one, x)
        return summed(algorithm1.route_tuned(e.tolist(), changed.tolist(), 3, 3, 4.0)[0])

    assert_numerical_gradient(gradient, at, function)


def test_with_the_gradient_of_the_last_iteration_the_initial_logits_have_none():
    behaviors, mask, _ = draw(4, 2, 9, 3)
    result = tuned(3, gradient="last")(behaviors.requires_grad_(), mask)
    assert not result.coupling.requires_grad
    assert result.vectors.requires_grad
    assert tuned(3)(behaviors, mask).coupling.requires_grad


@given(seed=SEEDS, stretch=st.lists(st.floats(0.01, 100), min_size=9, max_size=9))
def test_the_coupling_does_not_depend_on_the_length_of_the_embeddings(seed, stretch):
    """All behaviours longer by one factor: the same coupling. (With inner products, another.)"""
    behaviors, mask, _ = draw(seed, 2, 9, 4, [9, 5])
    routing = tuned()
    before, after = routing(behaviors, mask), routing(stretch[0] * behaviors, mask)
    torch.testing.assert_close(after.coupling, before.coupling)
    torch.testing.assert_close(after.vectors, stretch[0] * before.vectors)
    # In one round, where no capsule has been a mean of them yet, each by a factor of its own.
    factors = torch.tensor(stretch, dtype=torch.float64)[:, None]
    first = tuned(iterations=1)
    torch.testing.assert_close(
        first(factors * behaviors, mask).coupling, first(behaviors, mask).coupling
    )


def test_with_inner_products_the_lengths_do_matter():
    behaviors, mask, _ = draw(0, 2, 9, 4)
    routing = tuned(agreement="dot", inverse_temperature=1.0)
    before, after = (routing(factor * behaviors, mask).coupling for factor in (1, 3))
    assert (before - after).abs().max() > 0.05


@given(seed=SEEDS, lengths=LENGTHS)
def test_an_interest_is_a_weighted_mean_of_mapped_behaviors(seed, lengths):
    """So it lies among them: in no direction is it farther out than the farthest."""
    behaviors, mask, _ = draw(seed, len(lengths), 12, 4, lengths)
    routing = tuned()
    result = routing(behaviors, mask)
    votes = behaviors @ routing.bilinear_map.T
    directions = torch.cat([torch.eye(DIM), torch.randn(20, DIM)]).double()
    farthest = (votes @ directions.T).masked_fill(~mask[:, :, None], -math.inf).amax(1)
    reached = (result.vectors @ directions.T).masked_fill(~result.active[:, :, None], -math.inf)
    somebody = mask.any(1)
    assert (reached.amax(1) <= farthest + 1e-9)[somebody].all()
    shares = result.coupling / result.coupling.sum(2, keepdim=True).clamp(min=1e-9)
    torch.testing.assert_close(result.vectors, shares @ votes)
    assert (result.vectors[~result.active] == 0).all()
    torch.testing.assert_close(result.coupling.sum(1), mask.double())


@given(seed=SEEDS, lengths=LENGTHS)
def test_one_interest_is_the_map_of_the_mean(seed, lengths):
    behaviors, mask, _ = draw(seed, len(lengths), 12, 1, lengths)
    routing = tuned(1)
    mean = behaviors.sum(1) / mask.sum(1).clamp(min=1)[:, None]
    vectors = routing(behaviors, mask).vectors[:, 0]
    torch.testing.assert_close(vectors, mean @ routing.bilinear_map.T)


@given(seed=SEEDS, lengths=LENGTHS, shuffle_seed=st.integers(0, 2**31))
def test_interests_depend_on_neither_order_nor_padding_nor_other_users(seed, lengths, shuffle_seed):
    behaviors, mask, _ = draw(seed, len(lengths), 12, 4, lengths)
    routing = tuned()
    together = routing(behaviors, mask)
    for user, length in enumerate(lengths):
        order = torch.randperm(length, generator=torch.Generator().manual_seed(shuffle_seed))
        window = torch.cat([order, torch.tensor([length])]) if length < 12 else order
        alone = routing(behaviors[user, window][None], mask[user, window][None])
        torch.testing.assert_close(alone.vectors[0], together.vectors[user])
        torch.testing.assert_close(alone.coupling[0], together.coupling[user][:, window])
        assert (together.coupling[user, :, length:] == 0).all()


def test_a_user_without_behaviors_gets_zeros_and_no_gradient_that_is_not_finite():
    behaviors, mask, _ = draw(0, 3, 4, 4, [0, 4, 1])
    routing = tuned()
    behaviors.requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        result = routing(behaviors, mask)
        result.vectors.square().sum().backward()
    assert (result.vectors[0] == 0).all()
    assert result.active[0].tolist() == [True, False, False, False]
    for learnt in (behaviors.grad, routing.bilinear_map.grad):
        assert learnt is not None
        assert learnt.isfinite().all()
        assert learnt.abs().max() > 0
    assert behaviors.grad is not None
    assert (behaviors.grad[~mask] == 0).all()


def test_the_coupling_does_not_depend_on_the_values():
    """The capsules are sums of `values`; the coupling is computed from the behaviors."""
    behaviors, mask, _ = draw(0, 2, 9, 4)
    values, _, _ = draw(1, 2, 9, 4)
    routing = tuned()
    plain, other = routing(behaviors, mask), routing(behaviors, mask, values=values)
    torch.testing.assert_close(other.coupling, plain.coupling)
    shares = plain.coupling / plain.coupling.sum(2, keepdim=True).clamp(min=1e-9)
    torch.testing.assert_close(other.vectors, shares @ values @ routing.bilinear_map.T)
    assert (other.vectors - plain.vectors).abs().max() > 0.1


def test_shrinkage_adds_the_mean_of_all_behaviors_with_a_learned_weight():
    """u_k = S (sum_i w_ki g_i e_i + s m) / (sum_i w_ki g_i + s), m = sum_i g_i e_i / sum_i g_i."""
    behaviors, mask, _ = draw(0, 4, 9, 4, [9, 5, 1, 0])
    weights = torch.rand(mask.shape, generator=torch.Generator().manual_seed(1)).double() + 0.1
    routing, plain = tuned(shrinkage=True), tuned()
    initial = torch.nn.functional.softplus(routing.shrinkage)
    torch.testing.assert_close(initial, torch.ones_like(initial), rtol=0, atol=1e-6)
    with torch.no_grad():
        routing.shrinkage.fill_(2.0)
    found, before = (r(behaviors, mask, weights=weights) for r in (routing, plain))
    torch.testing.assert_close(found.coupling, before.coupling)
    s = math.log1p(math.exp(2))
    for user, length in enumerate([9, 5, 1]):
        e, g = behaviors[user, :length], weights[user, :length]
        mean = (g[:, None] * e).sum(0) / g.sum()
        for k in range(4):
            shares = found.coupling[user, k, :length] * g
            shrunk = ((shares[:, None] * e).sum(0) + s * mean) / (shares.sum() + s)
            expected = plain.bilinear_map @ shrunk * found.active[user, k]
            torch.testing.assert_close(found.vectors[user, k], expected)
    assert (found.vectors[~found.active] == 0).all()
    assert (found.vectors[3] == 0).all()


@given(seed=SEEDS, lengths=LENGTHS)
def test_shrinkage_leaves_one_interest_as_it_is(seed, lengths):
    behaviors, mask, _ = draw(seed, len(lengths), 12, 1, lengths)
    expected = tuned(1)(behaviors, mask).vectors
    torch.testing.assert_close(tuned(1, shrinkage=True)(behaviors, mask).vectors, expected)


def test_given_logits_replace_the_initial_logits():
    behaviors, mask, logits = draw(0, 2, 9, 4)
    routing = tuned(iterations=1)
    weights = routing(behaviors, mask, logits).coupling
    active = routing(behaviors, mask).active
    floored = logits.masked_fill(~active[:, :, None], -math.inf)
    torch.testing.assert_close(weights, floored.softmax(1))
    start = farthest_point_logits(
        behaviors @ routing.bilinear_map.T, mask, 4, inverse_temperature=4.0
    )
    torch.testing.assert_close(
        routing(behaviors, mask).coupling, routing(behaviors, mask, start).coupling
    )


def test_the_map_starts_as_the_identity_unless_the_form_is_the_papers():
    tuned_map = module(RoutingConfig()).bilinear_map.detach()
    literal = module(RoutingConfig.paper()).bilinear_map.detach()
    assert torch.equal(tuned_map, torch.eye(DIM).double())
    assert (literal - torch.eye(DIM)).abs().max() > 0.1
    assert literal.std().item() == pytest.approx((2 / (2 * DIM)) ** 0.5, rel=0.4)


def test_the_papers_form_takes_changes():
    assert RoutingConfig.paper(sigma=5.0) == replace(RoutingConfig.paper(), sigma=5.0)
