"""Negatives from the batch beside drawn ones: the mixture estimates the full softmax too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.training import batches
from mindlib.training.sampled_softmax import (
    NegativeSampler,
    proposal_probabilities,
    sampled_softmax_loss,
    target_probabilities,
)
from mindlib.training.step import pairs_in_epoch
from tests.training.test_fitting import COUNTS, CPU, full_softmax_gradient, small_problem

# How often each item is a target: not as the proposal has it, and some never.
TARGETS = np.array([0, 0.05, 0.05, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0, 0])
USERS = 6


def mixture(proposal, n, batch, *, correction="mixture", seed=0):
    """Loss and gradient of the six users, who are in a batch with many others.

    The others' targets come from TARGETS, as in training; of the drawn ones there are n.
    """
    users, items, targets = small_problem()
    users = users.clone().requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    p = torch.from_numpy(TARGETS)
    others = torch.multinomial(p, batch - USERS, replacement=True, generator=generator)
    sampler = NegativeSampler(proposal_probabilities(proposal, COUNTS), CPU, TARGETS)
    drawn, by_drawing = sampler.draw(n, generator)
    ids, log_expected = sampler.add_in_batch(drawn, torch.cat([targets, others]))
    if correction == "none":
        log_expected = torch.zeros_like(log_expected)
    elif correction == "as drawn":  # as though all came from q
        q = torch.from_numpy(proposal_probabilities(proposal, COUNTS))
        log_expected = (len(ids) * q[ids]).log().float()
    elif correction == "each its own":  # by drawing or in the batch, whichever way it came in
        own = ((batch - 1) * p[ids[n:]]).clamp(min=1).log().float()
        log_expected = torch.cat([by_drawing, own])
    loss = sampled_softmax_loss(
        users, items[targets], items[ids], targets, ids, log_expected.double()
    )
    return loss.item(), torch.autograd.grad(loss, users)[0]


def distance(**options):
    """How far the mixture's gradient is from that of the full softmax, relative to it."""
    _, gradient = full_softmax_gradient(*small_problem())
    return float((mixture(**options)[1] - gradient).norm() / gradient.norm())


@pytest.mark.parametrize("proposal", ["uniform", "log-uniform", "popularity"])
@pytest.mark.parametrize(("n", "batch"), [(200_000, 5_000), (100_000, 100_000), (50_000, 200_000)])
def test_drawn_and_in_batch_negatives_converge_to_the_full_softmax(proposal, n, batch):
    """Whatever the shares: few in the batch, half and half, few drawn."""
    loss, gradient = full_softmax_gradient(*small_problem())
    found, sampled = mixture(proposal, n, batch)
    assert found == pytest.approx(loss, abs=0.02)
    assert (sampled - gradient).norm() < 0.03 * gradient.norm()


@pytest.mark.parametrize("correction", ["none", "as drawn", "each its own"])
def test_another_correction_is_biased(correction):
    options = {"proposal": "uniform", "n": 100_000, "batch": 100_000}
    assert distance(**options) < 0.01
    assert distance(**options, correction=correction) > 0.04


def test_the_error_falls_as_negatives_are_added():
    def error(size):
        found = [
            distance(proposal="uniform", n=size, batch=size, seed=seed) ** 2 for seed in range(20)
        ]
        return float(np.mean(found)) ** 0.5

    # As one over the root of their number: a hundredfold is a tenth.
    assert error(100_000) == pytest.approx(error(1000) / 10, rel=0.5)


def test_in_a_batch_every_occurrence_of_a_users_target_is_an_accidental_hit():
    """Users who share a target: neither is the other's negative."""
    users, items, _ = small_problem()
    targets = torch.tensor([4, 4, 4, 7, 7, 7])
    sampler = NegativeSampler(proposal_probabilities("uniform", COUNTS), CPU, TARGETS)
    ids, log_expected = sampler.add_in_batch(torch.tensor([4, 7]), targets)
    loss = sampled_softmax_loss(
        users, items[targets], items[ids], targets, ids, log_expected.double()
    )
    # Of eight negatives each user keeps four, all of them the other item.
    other = torch.where(targets == 4, 7, 4)
    expected = {item: 2 / 10 + 5 * TARGETS[item] for item in (4, 7)}
    correction = torch.tensor([np.log(4 / expected[int(item)]) for item in other])
    own, theirs = (users * items[targets]).sum(1), (users * items[other]).sum(1) + correction
    torch.testing.assert_close(loss, (torch.logaddexp(own, theirs) - own).mean())


def test_an_item_is_expected_as_often_as_it_comes():
    """log(n q + (batch - 1) p), against counts: the own target apart, over many batches."""
    n, batch, rounds = 30, 21, 4000
    sampler = NegativeSampler(proposal_probabilities("popularity", COUNTS), CPU, TARGETS)
    generator = torch.Generator().manual_seed(0)
    counts, expected = np.zeros(11), np.zeros(11)
    for _ in range(rounds):
        drawn, _ = sampler.draw(n, generator)
        targets = torch.multinomial(
            torch.from_numpy(TARGETS), batch, replacement=True, generator=generator
        )
        ids, log_expected = sampler.add_in_batch(drawn, targets)
        expected[ids.numpy()] = log_expected.exp().numpy()
        counts += np.bincount(np.delete(ids.numpy(), n), minlength=11)  # the first user's own
    assert (expected[1:] > 0).all()
    assert np.abs(counts / rounds - expected).max() < 5 * np.sqrt(expected.max() / rounds)
    assert expected.sum() == pytest.approx(n + batch - 1, rel=1e-4)


@pytest.mark.parametrize("pairs_per_user", [0, 2])
def test_target_probabilities_are_those_of_the_targets_that_training_draws(pairs_per_user):
    config = PlantedConfig(num_users=80, num_clusters=4, items_per_cluster=5, num_segments=2)
    cases = leave_last_out(planted_interests(config, seed=0).log).train
    p = target_probabilities(cases, pairs_per_user)
    assert p[0] == 0
    assert p.sum() == pytest.approx(1)
    generator = torch.Generator().manual_seed(0)
    epochs, seen = 50, np.zeros(len(p), dtype=np.int64)
    for _ in range(epochs):
        for batch in batches(cases, 1000, generator, pairs_per_user=pairs_per_user):
            seen += np.bincount(batch.targets.numpy(), minlength=len(p))
    draws = epochs * pairs_in_epoch(cases, pairs_per_user)
    assert seen.sum() == draws
    assert np.abs(seen - draws * p).max() < 5 * np.sqrt(draws * p.max())


def test_a_basket_counts_as_one_pair():
    log = planted_interests(PlantedConfig(num_users=40), seed=0).log
    # Some purchases have the time of the one before: baskets of one, of two, of many.
    times = np.cumsum(np.random.default_rng(0).random(len(log)) < 0.5)
    cases = leave_last_out(replace(log, timestamps=times)).train
    baskets = cases[:]
    sizes = baskets.offsets.diff()
    assert sizes.unique().tolist()[:3] == [1, 2, 3]
    by_hand = np.zeros(baskets.num_items + 1)
    for row, target in zip(baskets.rows.tolist(), baskets.targets.tolist(), strict=True):
        by_hand[target] += 1 / int(sizes[row]) / len(cases)
    assert target_probabilities(cases) == pytest.approx(by_hand)


def test_a_sampler_without_target_probabilities_does_not_mix():
    sampler = NegativeSampler(proposal_probabilities("uniform", COUNTS), CPU)
    with pytest.raises(ValueError, match="create the sampler with targets=target_prob"):
        sampler.add_in_batch(torch.tensor([1]), torch.tensor([2]))
