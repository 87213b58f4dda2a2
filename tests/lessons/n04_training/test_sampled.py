"""The bias of the sampled softmax against the full one, and shares that can be computed by hand."""

import numpy as np
import pytest
import torch

from mindlib.lessons.n04_training.sampled import learned_shares, measure_bias, zipf_problem

SMALL = zipf_problem(num_items=60, users=5, dim=4)
SHARES = np.array([0.5, 0.2, 0.15, 0.1, 0.05])


def sampled_softmax(label_score, scores, label, negatives, log_expected):
    scores = (scores - log_expected).masked_fill(label[:, None] == negatives, -torch.inf)
    return (torch.cat([label_score[:, None], scores], 1).logsumexp(1) - label_score).mean()


@pytest.mark.parametrize("proposal", ["uniform", "popularity"])
def test_with_logq_the_bias_vanishes_and_without_it_does_not(proposal):
    few, many = (measure_bias(sampled_softmax, SMALL, proposal, n, samples=60) for n in (8, 2000))
    assert few.loss.high < -0.02
    assert abs(many.loss.value) < 0.02
    assert many.gradient < 0.03 < few.gradient
    wrong = measure_bias(sampled_softmax, SMALL, proposal, 2000, logq=False, samples=60)
    assert wrong.loss.low > 0.5


def test_noise_is_the_distance_of_an_unbiased_mean():
    """Ten times the samples, a root of ten less noise."""
    few, many = (measure_bias(sampled_softmax, SMALL, "uniform", 500, samples=s) for s in (30, 300))
    assert many.noise == pytest.approx(few.noise / 10**0.5, rel=0.3)


def test_the_right_loss_teaches_the_truth_whatever_the_proposal():
    for q in (SHARES, np.full(5, 0.2)):
        np.testing.assert_allclose(learned_shares(SHARES, q, 7), SHARES, atol=1e-5)


def test_without_logq_and_with_hits_a_model_learns_p_over_q():
    q = np.array([0.1, 0.1, 0.2, 0.2, 0.4])
    # Beside the label's own term n q e^s is large only for many negatives.
    many = learned_shares(SHARES, q, 10**6, logq=False, hits_stay=True)
    np.testing.assert_allclose(many, SHARES / q / (SHARES / q).sum(), atol=1e-4)


def test_hits_that_stay_flatten():
    shares = learned_shares(SHARES, SHARES, 4, hits_stay=True)
    assert shares[0] < SHARES[0] - 0.03
    assert shares[4] > SHARES[4] + 0.005
