"""Initial logits: farthest-point initialization, and Gaussian logits by item."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from mindlib.layers.initial_logits import farthest_point_logits, gaussian_logits
from tests import algorithm1
from tests.layers.test_routing import assert_numerical_gradient

DIM, SCALE = 5, 4.0
SEEDS = st.integers(0, 2**31)


def drawn(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, DIM, dtype=torch.float64, generator=generator)


def start(votes, most, mask=None):
    """The logits of one user whose behaviours are all there, or of a batch with its mask."""
    if mask is None:
        return start(votes[None], most, torch.ones(1, len(votes), dtype=torch.bool))[0]
    return farthest_point_logits(votes, mask, most, inverse_temperature=SCALE)


@given(seed=SEEDS, length=st.integers(1, 12), most=st.integers(1, 6))
def test_the_logits_are_cosines_to_behaviors_that_lie_far_apart(seed, length, most):
    assume(length != 2)  # a tie: rounding decides which of the two is the first seed
    votes = drawn(seed, length)
    directions = algorithm1.farthest(votes.tolist(), most)
    expected = [[SCALE * algorithm1.cosine(d, v) for v in votes.tolist()] for d in directions]
    torch.testing.assert_close(start(votes, most), torch.tensor(expected, dtype=torch.float64))


def test_seeds_by_hand():
    """Four behaviours in a plane, at 0, 10, 100 and 200 degrees; 200 is least like the rest.

    Then 10 is the farthest from 200, and 100 lies between the two.
    """
    angles = torch.deg2rad(torch.tensor([0.0, 10.0, 100.0, 200.0], dtype=torch.float64))
    lengths = torch.tensor([1.0, 7.0, 0.1, 2.0], dtype=torch.float64)
    votes = lengths[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1)
    logits = farthest_point_logits(
        votes[None], torch.ones(1, 4, dtype=torch.bool), 3, inverse_temperature=2.0
    )[0]
    for logit, seed in zip(logits, (200, 10, 100), strict=True):
        apart = angles - torch.deg2rad(torch.tensor(float(seed), dtype=torch.float64))
        torch.testing.assert_close(logit, 2 * apart.cos())


@given(
    seed=SEEDS, times=st.lists(st.integers(1, 4), min_size=1, max_size=5), most=st.integers(1, 6)
)
def test_the_order_of_behaviors_moves_the_columns_and_nothing_else(seed, times, most):
    """Some come several times, and there may be fewer different ones than interests."""
    assume(len(times) != 2 or times[0] != times[1])  # these are in the next test
    votes = drawn(seed, len(times)).repeat_interleave(torch.tensor(times), dim=0)
    order = torch.randperm(len(votes), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(start(votes[order], most), start(votes, most)[:, order])


def rows(logits):
    """The rows as a set: in the order of their values."""
    return torch.tensor(sorted(logits.round(decimals=9).tolist()), dtype=torch.float64)


@given(seed=SEEDS, times=st.integers(1, 5), most=st.integers(2, 6))
def test_of_two_behaviors_that_come_equally_often_neither_is_the_first_by_right(seed, times, most):
    """Their interests are the same as a set."""
    pair = drawn(seed, 2)
    one, other = start(pair.repeat(times, 1), most), start(pair.flip(0).repeat(times, 1), most)
    again = other.unflatten(1, (times, 2)).flip(2).flatten(1)
    torch.testing.assert_close(rows(again), rows(one))


@given(
    seed=SEEDS, length=st.integers(1, 8), padding=st.integers(1, 9), row=st.integers(0, 2)
)  # fmt: skip
def test_padding_and_other_users_never_matter(seed, length, padding, row):
    """Even if padding has arbitrary vectors."""
    votes = drawn(seed, length)
    batch = drawn(seed + 1, 3, length + padding)
    mask = torch.rand(batch.shape[:2], generator=torch.Generator().manual_seed(seed)) < 0.5
    batch[row, :length] = votes
    mask[row] = torch.arange(length + padding) < length
    found = start(batch, 4, mask)[row, :, :length]
    torch.testing.assert_close(found, start(votes, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_does_not_choose_among_equal_behaviors(dtype):
    """Three different ones, often repeated, of which a wide batch rounds the cosines otherwise."""
    generator = torch.Generator().manual_seed(0)
    for length in (9, 14, 20, 31):
        different = 1.5 * torch.randn(64, generator=generator) + torch.randn(
            3, 64, generator=generator
        )
        votes = different[torch.arange(length) % 7 % 3].to(dtype)
        found = start(votes, 5)
        for _ in range(5):
            order = torch.randperm(length, generator=generator)
            wide = torch.randn(4, 50, 64, generator=generator).to(dtype)
            wide[2, :length] = votes[order]
            mask = torch.ones(4, 50, dtype=torch.bool)
            mask[2, length:] = False
            again = start(wide, 5, mask)[2, :, :length]
            torch.testing.assert_close(again, found[:, order], atol=1e-4, rtol=0)


def test_of_equal_behaviors_the_first_is_the_seed():
    """So that what rounds otherwise, an exported graph say, has the interests in the same order."""
    pair = drawn(0, 2)
    for _ in range(10):
        logits = start(pair.repeat(3, 1), 2)
        torch.testing.assert_close(logits[0, ::2], torch.full((3,), SCALE, dtype=torch.float64))
        torch.testing.assert_close(logits[1, 1::2], torch.full((3,), SCALE, dtype=torch.float64))


@given(seed=SEEDS, different=st.integers(1, 3), most=st.integers(4, 6))
def test_interests_without_a_behavior_of_their_own_start_at_the_mean(seed, different, most):
    votes = drawn(seed, different).repeat(3, 1)[: 3 * different - 1]
    unit = votes / votes.norm(dim=1, keepdim=True)
    mean = unit.mean(0)
    logits = start(votes, most)
    expected = SCALE * unit @ mean / mean.norm()
    torch.testing.assert_close(logits[different:], expected.expand(most - different, -1))
    own = logits[:different].amax(1)
    torch.testing.assert_close(own, torch.full_like(own, SCALE))


@given(seed=SEEDS, lengths=st.lists(st.floats(1e-3, 1e3), min_size=6, max_size=6))
def test_the_lengths_of_behaviors_do_not_matter(seed, lengths):
    votes = drawn(seed, 6)
    stretched = votes * torch.tensor(lengths, dtype=torch.float64)[:, None]
    torch.testing.assert_close(start(stretched, 3), start(votes, 3))


def test_a_user_without_behaviors_has_finite_logits_and_gradients():
    votes = torch.zeros(2, 4, DIM, dtype=torch.float64)
    votes[1] = drawn(0, 4)
    mask = torch.tensor([[False] * 4, [True] * 4])
    votes.requires_grad_()
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
        logits = start(votes, 3, mask)
        (logits * mask[:, None]).sum().backward()
    assert logits.isfinite().all()
    assert (logits[0] == 0).all()
    assert votes.grad is not None
    assert votes.grad.isfinite().all()
    assert (votes.grad[0] == 0).all()
    assert votes.grad[1].abs().max() > 0


@pytest.mark.parametrize(("length", "most"), [(7, 3), (3, 5)])
def test_the_gradient_runs_through_the_cosines_and_not_through_the_choice(length, most):
    """Numerical derivative of the plain-Python start, in which seeds stay the same behaviours."""
    votes, weights = drawn(3, length), drawn(4, most, length)[:, :, 0]

    def total(votes):
        directions = algorithm1.farthest(votes.tolist(), most)
        return sum(
            float(weights[j, i]) * SCALE * algorithm1.cosine(direction, vote)
            for j, direction in enumerate(directions)
            for i, vote in enumerate(votes.tolist())
        )

    learnt = votes.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((start(learnt, most) * weights).sum(), learnt)
    assert_numerical_gradient(gradient, votes, total)


def test_evaluation_logits_are_standard_gaussian_and_independent():
    """Gaussian start: mean 0, deviation sigma, normal shape, no correlation between interests."""
    items = torch.arange(1, 20_001).reshape(200, 100)
    logits = gaussian_logits(items, 4, sigma=2.0, seed=7)
    flat = logits.flatten().double().numpy() / 2.0
    assert stats.kstest(flat, "norm").pvalue > 1e-3
    assert flat.std() == pytest.approx(1, abs=0.01)
    by_interest = logits.transpose(0, 1).flatten(1).double().numpy()
    correlation = np.corrcoef(by_interest) - np.eye(4)
    assert np.abs(correlation).max() < 5 / math.sqrt(20_000)
    neighbours = np.corrcoef(by_interest[0][:-1], by_interest[0][1:])[0, 1]
    assert abs(neighbours) < 5 / math.sqrt(20_000)


def test_evaluation_logits_depend_on_the_item_and_not_on_its_position():
    items = torch.tensor([[5, 9, 5]])
    logits = gaussian_logits(items, 3, sigma=1.0, seed=0)
    assert torch.equal(logits[..., 0], logits[..., 2])
    assert not torch.equal(logits[..., 0], logits[..., 1])
    assert not torch.equal(gaussian_logits(items, 3, sigma=1.0, seed=1), logits)
    assert (gaussian_logits(items, 3, sigma=0.0, seed=0) == 0).all()
