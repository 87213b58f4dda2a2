"""The losses of a training step, on models with several interests."""

import math
from typing import Any

import pytest
import torch

from mindlib.models import (
    MIND,
    ComiRecSA,
    ComiRecSAConfig,
    MaxMF,
    MaxMFConfig,
    MINDConfig,
    VectorModel,
)
from mindlib.training.config import TrainingConfig
from mindlib.training.losses import hard_negative_loss, routing_penalty
from mindlib.training.sampled_softmax import candidate_aware_loss, sampled_softmax_loss
from mindlib.training.step import batches, make_sampler, pairs_in_epoch, training_step

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"dim": 8, "hidden": (8,), "history_length": 12, "behavior_dropout": 0.0}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def mind(split, **options) -> MIND:
    return louder(MIND(split.log, MINDConfig(**SMALL | options), generator=seeded(0)))


def louder(model):
    """Embeddings so large that losses and interests differ."""
    with torch.no_grad():
        model.items.weight.mul_(3)
    return model


BATCH = 32


def one_step(model: VectorModel, split, **options):
    """The loss of a step on a batch, what it is made of, and its gradients by name."""
    config = TrainingConfig(negatives=40, proposal="popularity", **options)
    sampler = make_sampler(split, config, CPU)
    batch = next(batches(split.train, BATCH, seeded(1)))
    loss = training_step(model, batch, sampler, config, seeded(2)).detach()
    gradients = {
        name: weight.grad.to_dense() for name, weight in model.named_parameters()
        if weight.grad is not None
    }  # fmt: skip
    ids, log_expected = sampler.draw(40, seeded(2))
    table = model.item_vectors()
    shift = log_expected if config.logq else None
    items = (table[batch.targets], table[ids], batch.targets, ids, shift)
    return loss, model.encode_histories(batch.histories), items, gradients, batch


@pytest.mark.parametrize("logq", [True, False])
def test_the_paper_s_loss_scores_negatives_by_what_the_label_chose(split, logq):
    model = mind(split, power=2.0)
    loss, interests, items, _, _ = one_step(model, split, logq=logq, loss="label")
    expected = sampled_softmax_loss(model.readout(interests, items[0]), *items)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("logq", [True, False])
@pytest.mark.parametrize("build", ["mind", "mind with p = 2", "maxmf"])
def test_by_default_every_candidate_attends_to_the_interests_itself(split, logq, build):
    power = 2.0 if build == "mind with p = 2" else math.inf
    if build == "maxmf":
        model = louder(MaxMF(split.log, MaxMFConfig(**SMALL), generator=seeded(0)))
    else:
        model = mind(split, power=power)
    loss, interests, items, _, _ = one_step(model, split, logq=logq)
    torch.testing.assert_close(
        loss, candidate_aware_loss(interests.vectors, interests.active, *items, power)
    )
    by_label = one_step(model, split, logq=logq, loss="label")[0]
    assert loss > by_label + 1e-3, "negatives find their own best interest"


def test_hard_negatives_are_those_of_the_interest_that_the_label_chose(split):
    model = mind(split)
    loss, interests, items, _, _ = one_step(model, split, loss="label", hardness=2.0)
    users = model.readout(interests, items[0])
    torch.testing.assert_close(loss, hard_negative_loss(users, *items, beta=2.0))
    plain, *_ = one_step(model, split, loss="label")
    assert loss > plain + 1e-3


def test_without_hardness_a_step_is_that_of_the_sampled_softmax(split):
    model = mind(split)
    loss, interests, items, _, _ = one_step(model, split, loss="label", hardness=0.0)
    torch.testing.assert_close(
        loss, sampled_softmax_loss(model.readout(interests, items[0]), *items)
    )
    tiny, *_ = one_step(model, split, loss="label", hardness=1e-6)
    torch.testing.assert_close(tiny, loss)


def self_attention(split) -> ComiRecSA:
    return louder(ComiRecSA(split.log, ComiRecSAConfig(**SMALL), generator=seeded(0)))


@pytest.mark.parametrize("build", [mind, self_attention])
@pytest.mark.parametrize("loss", ["label", "candidate"])
def test_the_penalty_is_added_to_the_loss_and_learnt_from(split, build, loss):
    model = build(split)
    plain, interests, _, before, batch = one_step(model, split, loss=loss)
    penal, _, _, after, _ = one_step(model, split, loss=loss, routing_penalty=50.0)
    assert interests.coupling is not None
    mask = batch.histories.window(model.history_length).mask
    penalty = 50 * routing_penalty(interests.coupling, mask)
    assert penalty > 1e-3
    torch.testing.assert_close(penal, plain + penalty)
    learns = "routing.bilinear_map" if build is mind else "outer"
    assert (after[learns] - before[learns]).norm() > 1e-4 * before[learns].norm()
    assert (after["items.weight"] - before["items.weight"]).norm() > 1e-6


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (MaxMF, MaxMFConfig(**SMALL)),
        (MIND, MINDConfig.paper(**SMALL)),  # its coupling is a constant
    ],
)
def test_a_penalty_that_nothing_learns_from_is_refused(split, model, config):
    with pytest.raises(
        ValueError, match=rf"routing_penalty=50.0: .* of this {model.__name__}; use"
    ):
        one_step(model(split.log, config, generator=seeded(0)), split, routing_penalty=50.0)


def test_an_epoch_has_a_random_sample_of_the_cases_of_users_with_many(split):
    cases, most, generator = split.train, 3, seeded(0)
    of_user = torch.bincount(cases[:].histories.users)
    assert of_user.max() > 2 * most
    assert (of_user[of_user > 0] < most).any()
    seen = []
    for _ in range(2):
        epoch = [b.histories for b in batches(cases, 50, generator, pairs_per_user=most)]
        assert all(len(batch) == 50 for batch in epoch[:-1])
        users = torch.cat([batch.users for batch in epoch])
        pairs = torch.stack([users, torch.cat([batch.ends for batch in epoch])])
        assert torch.equal(torch.bincount(users), of_user.clamp(max=most))
        assert pairs.shape[1] == pairs_in_epoch(cases, most) == pairs.unique(dim=1).shape[1]
        assert not torch.equal(users, users.sort().values)
        seen.append(pairs.unique(dim=1))
    assert not torch.equal(*seen)
