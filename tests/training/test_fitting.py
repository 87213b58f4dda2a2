"""The loss against the full softmax, the sampler, the optimiser, and `fit` on the planted world."""

import math

import numpy as np
import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, load, planted_interests
from mindlib.evaluation import evaluate
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MIND, MINDConfig, Popularity, YouTubeDNN, YouTubeDNNConfig
from mindlib.training import (
    NegativeSampler,
    TrainingConfig,
    fit,
    proposal_probabilities,
    sampled_softmax_loss,
)
from mindlib.training.distributed import choose_device
from tests.conftest import unchecked
from tests.recovery import recovered_interests
from tests.reliability import refuses

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
COUNTS = np.array([0, 100, 50, 20, 10, 5, 2, 1, 1, 0, 0])


def small_problem(seed=0):
    """Users, targets and a catalogue of ten items, with unequal scores."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    items = torch.randn(11, 4, generator=generator, dtype=torch.float64)
    return users, items, torch.tensor([1, 2, 3, 1, 9, 10])


def full_softmax_gradient(users, items, targets):
    users = users.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(users @ items[1:].T, targets - 1)
    return loss.item(), torch.autograd.grad(loss, users)[0]


def sampled_gradient(users, items, targets, proposal, *, logq, draws=200_000, hits=True):
    users = users.clone().requires_grad_()
    sampler = NegativeSampler(proposal_probabilities(proposal, COUNTS), CPU)
    ids, log_expected = sampler.draw(draws, torch.Generator().manual_seed(0))
    target_ids = targets if hits else torch.zeros_like(targets)
    loss = sampled_softmax_loss(
        users, items[targets], items[ids], target_ids, ids, log_expected.double() if logq else None
    )
    return loss.item(), torch.autograd.grad(loss, users)[0]


@pytest.mark.parametrize("proposal", ["uniform", "log-uniform", "popularity"])
def test_sampled_softmax_with_logq_converges_to_the_full_softmax(proposal):
    problem = small_problem()
    loss, gradient = full_softmax_gradient(*problem)
    sampled_loss, sampled = sampled_gradient(*problem, proposal, logq=True)
    assert sampled_loss == pytest.approx(loss, abs=0.02)
    assert (sampled - gradient).norm() < 0.02 * gradient.norm()


def test_without_logq_a_popularity_proposal_is_biased():
    problem = small_problem()
    _, gradient = full_softmax_gradient(*problem)
    _, sampled = sampled_gradient(*problem, "popularity", logq=False)
    assert (sampled - gradient).norm() > 0.2 * gradient.norm()


def test_an_accidental_hit_is_not_counted():
    """With hits left in, the target stands twice in the denominator: another, larger loss."""
    users, items, targets = small_problem()
    loss, _ = full_softmax_gradient(users, items, targets)
    scores = users @ items[1:].T
    positive = (users * items[targets]).sum(1)
    twice = torch.logaddexp(scores.logsumexp(1), positive) - positive
    assert twice.mean().item() > loss + 0.05
    kept, _ = sampled_gradient(users, items, targets, "uniform", logq=True, hits=False)
    assert kept == pytest.approx(twice.mean().item(), abs=0.02)
    without, _ = sampled_gradient(users, items, targets, "uniform", logq=True)
    assert without == pytest.approx(loss, abs=0.02)


def test_only_hits_among_the_negatives_leave_a_loss_of_zero():
    users, items, targets = small_problem()
    ids = torch.tensor([1, 1])
    loss = sampled_softmax_loss(users[:1], items[targets[:1]], items[ids], targets[:1], ids, None)
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("proposal", ["uniform", "log-uniform", "popularity"])
def test_negatives_come_as_often_as_the_proposal_says(proposal):
    q = proposal_probabilities(proposal, COUNTS)
    assert q[0] == 0
    assert q.sum() == pytest.approx(1)
    assert (q[1:] > 0).all(), "every item must be drawable: the estimate is of a sum over all"
    ids, log_expected = NegativeSampler(q, CPU).draw(100_000, torch.Generator().manual_seed(0))
    seen = np.bincount(ids.numpy(), minlength=11)
    assert seen[0] == 0
    assert np.abs(seen - 100_000 * q).max() < 5 * np.sqrt(100_000 * q.max())
    assert log_expected.exp().numpy() == pytest.approx(100_000 * q[ids.numpy()], rel=1e-4)


def test_the_log_uniform_proposal_follows_popularity_whatever_the_ids():
    order = np.r_[0, 1 + np.random.default_rng(0).permutation(10)]
    shuffled = np.zeros_like(COUNTS)
    shuffled[order] = COUNTS
    q, moved = (proposal_probabilities("log-uniform", c) for c in (COUNTS, shuffled))
    distinct = slice(1, 7)  # the counts of the others are tied
    assert moved[order][distinct] == pytest.approx(q[distinct])
    assert (np.diff(q[distinct]) < 0).all()


@pytest.fixture(scope="module")
def world():
    config = PlantedConfig(num_users=1000, num_clusters=12, items_per_cluster=20, events=(16, 40))
    return planted_interests(config, seed=0)


@pytest.fixture(scope="module")
def split(world):
    return leave_last_out(world.log)


QUICK = TrainingConfig(epochs=12, batch_size=256, negatives=128, learning_rate=5e-3)
SMALL = {"dim": 24, "hidden": (48,), "history_length": 24}


def make_mind(split, interests, seed=0):
    routing = RoutingConfig.paper(max_interests=interests)
    return MIND(
        split.log,
        MINDConfig.paper(**SMALL, routing=routing),
        generator=torch.Generator().manual_seed(seed),
    )


@pytest.fixture(scope="module")
def trained(split):
    model = make_mind(split, 4)
    return model, fit(model, split, QUICK, device="cpu", progress=False)


def test_a_trained_model_recovers_the_planted_interests_far_above_chance(world, split, trained):
    model, _ = trained
    untrained = make_mind(split, 4)
    several = world.interests[split.test.histories.users].sum(1) >= 3
    few = split.test.histories.select(torch.from_numpy(np.flatnonzero(several)))
    found = recovered_interests(model, world, few).mean().item()
    chance = recovered_interests(untrained, world, few).mean().item()
    # Four random clusters of twelve would find a third of them.
    assert found > 0.6
    assert found > chance + 0.25


def test_a_trained_model_beats_popularity(split, trained):
    model, _ = trained
    own = evaluate(model, split.test, (20,)).means()["HitRate@20"]
    floor = evaluate(Popularity(split.train_counts), split.test, (20,)).means()["HitRate@20"]
    assert own > 1.5 * floor


def test_fit_logs_a_falling_loss_and_keeps_the_best_epoch(split, trained):
    model, result = trained
    assert result.log[-1].loss < result.log[0].loss - 0.3
    values = [row["Recall@50"] for row in result.log]
    assert result.log[result.best_epoch - 1]["Recall@50"] == max(values)
    again = evaluate(model, split.validation, (50,)).means()["Recall@50"]
    assert again == pytest.approx(max(values))


def test_the_same_seed_trains_the_same_model(split):
    config = TrainingConfig(epochs=1, batch_size=512, negatives=64)
    first, again, other = (make_mind(split, 3) for _ in range(3))
    fit(first, split, config, device="cpu", progress=False)
    fit(again, split, config, device="cpu", progress=False)
    assert torch.equal(first.items.weight, again.items.weight)
    another = TrainingConfig(epochs=1, batch_size=512, negatives=64, seed=1)
    fit(other, split, another, device="cpu", progress=False)
    assert not torch.equal(first.items.weight, other.items.weight)


def test_a_log_on_disk_trains_the_same_model(split, tmp_path):
    split.log.save(tmp_path / "log")
    opened = leave_last_out(load(tmp_path / "log"))
    config = TrainingConfig(epochs=1, batch_size=64, negatives=20, in_batch=True)
    models = make_mind(split, 2), make_mind(opened, 2)
    for model, data in zip(models, (split, opened), strict=True):
        fit(model, data, config, progress=False)
    weights, others = (model.state_dict() for model in models)
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_training_stops_when_validation_does_not_get_better(split):
    model = make_mind(split, 2)
    tiny = TrainingConfig(epochs=20, patience=1, learning_rate=1e-12, batch_size=4096, negatives=8)
    result = fit(model, split, tiny, device="cpu", progress=False)
    assert len(result.log) < 20
    assert len(result.log) - result.best_epoch == 1


def test_every_parameter_is_trained(split):
    for model in (
        make_mind(split, 4),
        YouTubeDNN(split.log, YouTubeDNNConfig.paper(**SMALL), generator=torch.Generator()),
    ):
        before = {name: value.clone() for name, value in model.named_parameters()}
        fit(model, split, TrainingConfig(epochs=1), device="cpu", progress=False)
        for name, value in model.named_parameters():
            assert not torch.equal(before[name], value), name
        assert (model.items.weight[0] == 0).all(), "padding must stay zero"


def test_a_model_of_another_catalogue_is_refused(split):
    other = planted_interests(PlantedConfig(num_users=50, num_clusters=4, num_segments=2)).log
    model = YouTubeDNN(other, generator=torch.Generator())
    fault = "a model is trained on another catalogue than it was built for"
    with refuses("Training and checkpoints", fault, ValueError, match="build the model from split"):
        fit(model, split, progress=False)


def test_a_loss_that_is_not_finite_stops_training_with_a_remedy(split):
    model = make_mind(split, 2)
    with torch.no_grad():
        model.items.weight[1:] = math.nan
    fault, message = "the loss becomes NaN", "epoch 1 is nan at step 1 of"
    with refuses("Training and checkpoints", fault, FloatingPointError, match=message):
        fit(model, split, QUICK, device="cpu", progress=False)


def test_an_absent_device_is_refused():
    with pytest.raises(ValueError, match="device='cuda:99' cannot be used here"):
        choose_device("cuda:99")
    with pytest.raises(ValueError, match='expected "auto", "cpu"'):
        choose_device("quantum")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0: expected at least 1"),
        ({"batch_size": -4}, "batch_size=-4: expected 1 to 1,000,000"),
        ({"negatives": 0}, "negatives=0: expected 1 to 1,000,000"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: expected above 0"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"schedule": "step"}, "schedule='step': expected 'constant'"),
        ({"proposal": "zipf"}, "proposal='zipf': expected 'uniform' or 'log-uniform' or"),
        ({"monitor": "AUC"}, "monitor='AUC': expected HitRate@N"),
        ({"monitor": "Recall@0"}, "monitor='Recall@0'"),
        ({"loss": "served"}, "loss='served': expected 'candidate' or 'label'"),
        ({"hardness": -1.0}, "hardness=-1.0: expected 0 to 1,000,000"),
        ({"hardness": math.inf}, "hardness=inf: expected 0 to 1,000,000"),
        ({"hardness": math.nan}, "hardness=nan: expected a number"),
        ({"routing_penalty": -0.5}, "routing_penalty=-0.5: expected 0 to 1,000,000"),
        ({"routing_penalty": math.nan}, "routing_penalty=nan: expected a number"),
        (
            {"hardness": 1.0, "loss": "candidate"},
            "hardness=1.0 with loss='candidate': .* pass loss='label'",
        ),
    ],
)
def test_bad_training_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        unchecked(TrainingConfig, **options)


def test_a_model_with_no_parameter_but_the_item_table_is_trained(split, tmp_path):
    def train() -> tuple[YouTubeDNN, float]:
        config = YouTubeDNNConfig(dim=8, hidden=None)
        model = YouTubeDNN(split.log, config, generator=torch.Generator().manual_seed(0))
        training = TrainingConfig(epochs=4, batch_size=128, negatives=64, learning_rate=2e-2)
        result = fit(model, split, training, device="cpu", progress=False, checkpoints=tmp_path)
        return model, result.log[-1].loss / result.log[0].loss

    (first, ratio), (resumed, _) = train(), train()
    assert ratio < 0.95
    assert torch.equal(first.items.weight, resumed.items.weight)
