"""The sampled softmax, measured: against the full one and against what can be solved by hand."""

import numpy as np
import pytest
import torch

from mindlib.lessons.n04_training.sampled import bias, full, learnt, problem, sample, sample_mixed

SMALL = problem(num_items=60, users=5, dim=4)
SHARES = np.array([0.5, 0.2, 0.15, 0.1, 0.05])


def test_the_full_gradient_is_the_expected_item_less_the_target():
    _, gradient = full(SMALL)
    probabilities = (SMALL.users @ SMALL.items[1:].T).softmax(1)
    expected = probabilities @ SMALL.items[1:] - SMALL.items[SMALL.targets]
    torch.testing.assert_close(gradient, expected / len(SMALL.users))


@pytest.mark.parametrize("proposal", ["uniform", "popularity"])
def test_with_logq_the_bias_goes_away_and_without_it_does_not(proposal):
    few, many = (bias(SMALL, sample(SMALL, proposal, n, draws=60)) for n in (8, 2000))
    assert few.loss.high < -0.02
    assert abs(many.loss.value) < 0.02
    assert many.gradient < 0.03 < few.gradient
    wrong = bias(SMALL, sample(SMALL, proposal, 2000, logq=False, draws=60))
    assert wrong.loss.low > 0.5


def test_hits_that_stay_raise_the_loss():
    right, wrong = (
        bias(SMALL, sample(SMALL, "popularity", 2000, hits_stay=h, draws=60)) for h in (False, True)
    )
    assert wrong.loss.low > right.loss.high


def test_luck_is_the_distance_of_an_unbiased_mean():
    """Ten times the draws, a root of ten less luck."""
    few, many = (bias(SMALL, sample(SMALL, "uniform", 500, draws=d)) for d in (30, 300))
    assert many.luck == pytest.approx(few.luck / 10**0.5, rel=0.3)


def test_only_the_mixture_estimates_the_full_softmax():
    found = {
        c: bias(SMALL, sample_mixed(SMALL, "uniform", 1000, 1000, correction=c, draws=40))
        for c in ("mixture", "each its own", "as drawn", "none")
    }
    assert abs(found["mixture"].loss.value) < 0.05
    # Each half estimates the whole sum without the target, and they add up.
    assert 0.2 < found["each its own"].loss.value < np.log(2) + 0.05
    assert found["as drawn"].gradient > 10 * found["mixture"].gradient
    assert found["none"].loss.low > 1


def test_the_right_loss_teaches_the_truth_whatever_the_proposal():
    for q in (SHARES, np.full(5, 0.2)):
        np.testing.assert_allclose(learnt(SHARES, q, 7), SHARES, atol=1e-5)


def test_without_logq_and_with_hits_a_model_learns_p_over_q():
    q = np.array([0.1, 0.1, 0.2, 0.2, 0.4])
    ratio = SHARES / q
    found = learnt(SHARES, q, 7, logq=False, hits_stay=True)
    # Beside the target's own term n q e^s is large only for many negatives.
    many = learnt(SHARES, q, 10**6, logq=False, hits_stay=True)
    np.testing.assert_allclose(many, ratio / ratio.sum(), atol=1e-4)
    assert np.argmax(found) == 0


def test_hits_that_stay_flatten():
    found = learnt(SHARES, SHARES, 4, hits_stay=True)
    assert found[0] < SHARES[0] - 0.03
    assert found[4] > SHARES[4] + 0.005
