"""Losses for several interests: the best interest on both sides, hard negatives, even routing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.layers.attention import label_aware_attention
from mindlib.training import (
    NegativeSampler,
    Proposal,
    proposal_probabilities,
    sampled_softmax,
    sampled_softmax_loss,
)
from mindlib.training.losses import hard_negative_loss, routing_penalty
from mindlib.training.sampled_softmax import candidate_aware_loss
from tests.training.test_fitting import COUNTS, CPU, small_problem


def drawn(n, proposal: Proposal = "popularity"):
    sampler = NegativeSampler(proposal_probabilities(proposal, COUNTS), CPU)
    return sampler.draw(n, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("logq", [True, False])
def test_every_item_is_scored_by_its_own_best_active_interest(logq):
    users, items, targets = small_problem()
    vectors = torch.stack([users, -users, users.roll(1, 1)], dim=1)
    active = torch.tensor(
        [[True, True, True]] * 3 + [[True, True, False]] * 2 + [[True] + [False] * 2]
    )
    ids, log_expected = drawn(30)
    losses = []
    for user, target in enumerate(targets.tolist()):

        def score(item, user=user):
            return max(
                float(v @ items[item])
                for v, a in zip(vectors[user], active[user], strict=True)
                if a
            )

        own = math.exp(score(target))
        others = sum(
            math.exp(score(item)) / (math.exp(expected) if logq else 1)
            for item, expected in zip(ids.tolist(), log_expected.tolist(), strict=True)
            if item != target
        )
        losses.append(-math.log(own / (own + others)))
    found = candidate_aware_loss(
        vectors, active, items[targets], items[ids], targets, ids,
        log_expected.double() if logq else None,
    )  # fmt: skip
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-6)


def test_with_one_interest_the_best_is_the_only_one_and_the_gradient_that_of_the_sampled_softmax():
    users, items, targets = small_problem()
    users.requires_grad_()
    ids, log_expected = drawn(30)
    rest = (items[targets], items[ids], targets, ids, log_expected.double())
    losses = (
        candidate_aware_loss(users[:, None], torch.ones(6, 1, dtype=torch.bool), *rest),
        sampled_softmax_loss(users, *rest),
    )
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, users)[0] for loss in losses))


def test_only_the_interest_that_scores_an_item_best_learns_from_it():
    """By finite differences, with an inactive interest beside."""
    users, items, targets = small_problem()
    vectors = torch.stack([users, -users, 9 * users], dim=1).requires_grad_()
    active = torch.tensor([[True, True, False]] * 6)
    ids, log_expected = drawn(30)
    rest = (active, items[targets], items[ids], targets, ids, log_expected.double())
    (slope,) = torch.autograd.grad(candidate_aware_loss(vectors, *rest), vectors)
    assert (slope[:, 2] == 0).all()
    assert (slope[:, :2].norm(dim=2) > 0).any(0).all()
    step = 1e-6 * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0))
    up, down = (candidate_aware_loss(vectors.detach() + sign * step, *rest) for sign in (1, -1))
    assert float(up - down) == pytest.approx(float(2 * (slope * step).sum()), rel=1e-4)


def naive_loss(
    interests, active, targets, negatives, target_ids, negative_ids, log_expected, power=math.inf
):
    """The formula, by autograd: label-aware attention of every candidate, one after the other."""

    def score(candidates):
        vectors = label_aware_attention(interests, active, candidates, power)
        return (vectors * candidates).sum(1)

    own = score(targets)
    scores = torch.stack([score(e.expand(len(targets), -1)) for e in negatives], dim=1)
    if log_expected is not None:
        scores = scores - log_expected
    scores = scores.masked_fill(target_ids[:, None] == negative_ids, -torch.inf)
    logits = torch.cat([own[:, None], scores], dim=1)
    return -logits.log_softmax(1)[:, 0].mean()


@pytest.mark.parametrize("logq", [True, False])
@pytest.mark.parametrize("ids", ["many", "hits", "all hits"])
@pytest.mark.parametrize(("at_once", "power"), [
    (1, math.inf), (80, math.inf), (10_000, math.inf), (1, 3.0), (80, 0.7), (80, 0.0),
])  # fmt: skip
def test_the_loss_and_its_gradients_equal_the_formula(monkeypatch, logq, ids, at_once, power):
    """Whatever the interests that are active, and the number of users computed at once."""
    monkeypatch.setattr(sampled_softmax, "SCORES_AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(0)
    batch, interests, dim, n = 17, 4, 5, 23
    vectors, targets, negatives = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((batch, interests, dim), (batch, dim), (n, dim))
    )
    active = torch.rand(batch, interests, generator=generator) < 0.5
    active[torch.arange(batch), torch.randint(interests, (batch,), generator=generator)] = True
    most = {"many": 1000, "hits": 5, "all hits": 1}[ids]
    target_ids, negative_ids = (
        torch.randint(1, most + 1, (size,), generator=generator) for size in (batch, n)
    )
    log_expected = torch.randn(n, generator=generator).double() if logq else None
    problem = (vectors, active, targets, negatives, target_ids, negative_ids, log_expected, power)
    found, expected = candidate_aware_loss(*problem), naive_loss(*problem)
    torch.testing.assert_close(found, expected)
    learnt = (vectors, targets, negatives)
    for ours, formula in zip(
        torch.autograd.grad(3 * found, learnt), torch.autograd.grad(3 * expected, learnt),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(ours, formula)


def test_of_interests_with_equal_scores_the_first_active_one_learns():
    users, items, targets = small_problem()
    vectors = torch.stack([users, users, users], dim=1).requires_grad_()
    active = torch.tensor([[False, True, True]] * 6)
    ids, _ = drawn(30)
    loss = candidate_aware_loss(vectors, active, items[targets], items[ids], targets, ids, None)
    (slope,) = torch.autograd.grad(loss, vectors)
    assert (slope[:, 1].norm(dim=1) > 0).all()
    assert (slope[:, [0, 2]] == 0).all()


def test_a_label_that_is_far_too_unlikely_still_has_a_finite_loss():
    """By 200, where its probability is 0 in single precision."""
    vectors, label, other = torch.ones(1, 1, 1), torch.zeros(1, 1), torch.full((2, 1), 200.0)
    active, ids = torch.ones(1, 1, dtype=torch.bool), torch.tensor([2, 3])
    loss = candidate_aware_loss(vectors, active, label, other, torch.tensor([1]), ids, None)
    assert float(loss) == pytest.approx(200 + math.log(2))


def test_sharing_the_catalogue_pays_in_eq_10_and_not_here():
    """Four users, four items, a vector for each item and the same four for everybody."""
    items = torch.cat([torch.zeros(1, 4), 8 * torch.eye(4)]).double()
    vectors = torch.eye(4).double().expand(4, 4, 4)
    targets = ids = torch.arange(1, 5)
    by_label = sampled_softmax_loss(vectors[0], items[targets], items[ids], targets, ids, None)
    by_best = candidate_aware_loss(
        vectors, torch.ones(4, 4, dtype=torch.bool), items[targets], items[ids], targets, ids, None
    )
    assert float(by_label) < 0.01
    assert float(by_best) == pytest.approx(math.log(4))


@pytest.mark.parametrize("logq", [True, False])
def test_without_hardness_it_is_the_sampled_softmax(logq):
    users, items, targets = small_problem()
    ids, log_expected = drawn(30)
    users.requires_grad_()
    shift = log_expected.double() if logq else None
    problem = (users, items[targets], items[ids], targets, ids, shift)
    loss, plain = hard_negative_loss(*problem, beta=0.0), sampled_softmax_loss(*problem)
    torch.testing.assert_close(loss, plain)
    slopes = [torch.autograd.grad(value, users)[0] for value in (loss, plain)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
def test_uniform_negatives_weigh_what_the_published_formula_says(beta):
    """-log(e^s+ / (e^s+ + sum_j w_j e^sj)), w_j = e^(beta sj) / mean_l e^(beta sl), no hits."""
    users, items, targets = small_problem()
    ids = torch.tensor([2, 5, 5, 7, 1, 10, 4])
    losses = []
    for user, target in zip(users, targets.tolist(), strict=True):
        scores = [float(user @ items[i]) for i in ids.tolist() if i != target]
        hard = [math.exp(beta * s) for s in scores]
        weights = [h / (sum(hard) / len(hard)) for h in hard]
        others = sum(w * math.exp(s) for w, s in zip(weights, scores, strict=True))
        own = math.exp(float(user @ items[target]))
        losses.append(-math.log(own / (own + others)))
    found = hard_negative_loss(users, items[targets], items[ids], targets, ids, None, beta=beta)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-9)


@pytest.mark.parametrize("proposal", ["uniform", "popularity"])
def test_with_logq_it_converges_to_the_same_loss_whatever_the_proposal(proposal):
    """The weights too are estimates of a mean over the catalogue, and not over what was drawn."""
    users, items, targets = small_problem()
    beta, expected = 0.7, []
    for user, target in zip(users, targets.tolist(), strict=True):
        scores = [float(user @ items[i]) for i in range(1, 11) if i != target]
        mean = sum(math.exp(beta * s) for s in scores) / len(scores)
        others = sum(math.exp((1 + beta) * s) / mean for s in scores)
        own = math.exp(float(user @ items[target]))
        expected.append(-math.log(own / (own + others)))
    ids, log_expected = drawn(200_000, proposal)
    found = hard_negative_loss(
        users, items[targets], items[ids], targets, ids, log_expected.double(), beta=beta
    )
    assert float(found) == pytest.approx(sum(expected) / len(expected), abs=0.02)


def test_the_harder_the_larger_the_share_of_the_hardest_negative():
    users, items, targets = small_problem()
    ids = torch.tensor([2, 5, 7, 4])
    shares = []
    for beta in (0.0, 1.0, 4.0):
        negatives = items[ids].clone().requires_grad_()
        loss = hard_negative_loss(users[:1], items[targets[:1]], negatives, targets[:1], ids, None,
                                  beta=beta)  # fmt: skip
        (slope,) = torch.autograd.grad(loss, negatives)
        size = slope.norm(dim=1)
        shares.append(float(size[(items[ids] @ users[0]).argmax()] / size.sum()))
    assert shares[0] < shares[1] < shares[2]


def test_only_hits_leave_a_loss_of_zero_and_a_finite_gradient():
    users, items, targets = small_problem()
    users.requires_grad_()
    ids = torch.tensor([1, 1])
    loss = hard_negative_loss(users[:1], items[targets[:1]], items[ids], targets[:1], ids, None,
                              beta=2.0)  # fmt: skip
    assert loss.item() == pytest.approx(0, abs=1e-9)
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
        assert torch.autograd.grad(loss, users)[0].isfinite().all()


def test_large_scores_do_not_overflow():
    users, items, targets = small_problem()
    ids, log_expected = drawn(30)
    loss = hard_negative_loss((100 * users).float(), items[targets].float(), items[ids].float(),
                              targets, ids, log_expected, beta=10.0)  # fmt: skip
    assert loss.isfinite()


@given(
    st.lists(
        st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=2, max_size=2),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.integers(1, 4), min_size=3, max_size=3),
)
def test_the_penalty_is_the_squared_variance_over_the_behaviors(coupling, lengths):
    total = 0.0
    for user, length in zip(coupling, lengths, strict=False):
        for row in user:
            mean = sum(row[:length]) / length
            total += (sum((w - mean) ** 2 for w in row[:length]) / length) ** 2
    weights = torch.tensor(coupling, dtype=torch.float64)
    mask = torch.arange(4) < torch.tensor(lengths[: len(coupling)])[:, None]
    assert float(routing_penalty(weights, mask)) == pytest.approx(total / len(coupling), abs=1e-12)


def test_the_penalty_is_zero_for_even_routing_and_largest_for_copies():
    mask = torch.ones(1, 5, dtype=torch.bool)
    even = torch.full((1, 2, 5), 0.2)
    copies = torch.eye(5)[None, :2]
    between = 0.5 * even + 0.5 * copies
    penalties = [float(routing_penalty(w, mask)) for w in (even, between, copies)]
    assert penalties[0] == pytest.approx(0, abs=1e-12)
    assert penalties[0] < penalties[1] < penalties[2]
    assert penalties[2] == pytest.approx(2 * (0.2 * 0.8) ** 2)


def test_going_down_the_penalty_evens_routing_out():
    logits = torch.randn(3, 2, 6, generator=torch.Generator().manual_seed(0)) * 3
    mask = torch.arange(6) < torch.tensor([6, 4, 5])[:, None]
    logits.requires_grad_()

    def coupling():
        return logits.masked_fill(~mask[:, None], -1e9).softmax(2)

    before = coupling().amax(2).mean()
    for _ in range(200):
        (slope,) = torch.autograd.grad(routing_penalty(coupling(), mask), logits)
        logits = (logits - 30 * slope).detach().requires_grad_()
    assert coupling().amax(2).mean() < 0.7 * before
