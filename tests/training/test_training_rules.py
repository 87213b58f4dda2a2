"""How `fit` follows its configuration, where the loss alone would not show it."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import mindlib.training.fitting
from mindlib.evaluation import Evaluation
from mindlib.models import YouTubeDNN, YouTubeDNNConfig
from mindlib.training import (
    TrainingConfig,
    batches,
    fit,
    make_optimizers,
    make_sampler,
    proposal_probabilities,
    target_probabilities,
    training_step,
)
from tests.reliability import refuses

CPU = torch.device("cpu")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def youtube(split):
    config = YouTubeDNNConfig.paper(dim=8, hidden=(), history_length=10)
    return YouTubeDNN(split.log, config, generator=seeded(0))


def assert_loss_of_a_step(split, in_batch, options):
    """A step's loss is the sampled softmax with -log(n q + (batch - 1) p), written out."""
    config = TrainingConfig(negatives=50, proposal="popularity", **options)
    sampler = make_sampler(split, config, CPU)
    batch = next(batches(split.train, 32, seeded(1)))
    model = youtube(split)
    loss = training_step(model, batch, sampler, config, seeded(2))

    expected = 50 * proposal_probabilities("popularity", split.train_counts)
    negatives, _ = sampler.draw(50, seeded(2))
    if in_batch:
        expected += 31 * target_probabilities(split.train)
        negatives = torch.cat([negatives, batch.targets])
    users = model.interests(batch.histories)[0][:, 0]
    items = model.item_vectors()
    logits = users @ items[negatives].T
    if "logq" not in options:
        logits = logits - torch.from_numpy(expected).float().log()[negatives]
    logits[batch.targets[:, None] == negatives] = -torch.inf
    own = (users * items[batch.targets]).sum(1)
    by_hand = (torch.logaddexp(logits.logsumexp(1), own) - own).mean()
    torch.testing.assert_close(loss.detach(), by_hand)


@pytest.mark.parametrize("options", [{}, {"logq": False}])
def test_a_training_step_corrects_for_the_proposal_unless_told_not_to(split, options):
    assert_loss_of_a_step(split, False, options)


@pytest.mark.parametrize("options", [{}, {"logq": False}])
def test_a_training_step_takes_the_targets_of_the_batch_for_negatives_when_told_to(split, options):
    assert_loss_of_a_step(split, True, {"in_batch": True, **options})


def test_the_learning_rate_rises_and_falls_as_the_configuration_says(split, monkeypatch):
    steps, rates, optimizers = 12, [], []
    original = mindlib.training.fitting.training_step

    def watched(*arguments):
        rates.append([g["lr"] for o in optimizers for g in o.param_groups])
        return original(*arguments)

    def kept(*arguments):
        optimizers.extend(make_optimizers(*arguments))
        return optimizers

    monkeypatch.setattr("mindlib.training.fitting.training_step", watched)
    monkeypatch.setattr("mindlib.training.epochs.make_optimizers", kept)
    options: dict[str, Any] = {
        "epochs": 2,
        "batch_size": math.ceil(len(split.train) / steps),
        "negatives": 8,
    }
    config = TrainingConfig(**options, schedule="cosine", monitor="Recall@10")
    done = fit(youtube(split), split, config, device="cpu", progress=False)
    assert done.log[-1].step == len(rates) == 2 * steps
    assert all(table == dense for table, dense in rates), "both optimisers"
    factors = [table / config.learning_rate for table, _ in rates]
    n = len(rates)
    assert factors == pytest.approx(
        [(1 + math.cos(math.pi * k / n)) / 2 for k in range(n)], abs=1e-9
    )
    assert done.log[-1].learning_rate == pytest.approx(0, abs=1e-12)


def test_a_monitored_n_above_the_number_of_items_is_refused(split):
    fault = "the N of the monitored metric exceeds the catalogue"
    message = r"monitor='Recall@50': .* has only 20 items; choose a smaller N"
    with refuses("Configuration", fault, ValueError, match=message):
        fit(youtube(split), split, TrainingConfig(), device="cpu", progress=False)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_split_without_cases_is_refused(split, part):
    no_validation = replace(split, validation=split.validation[:0])
    empty = no_validation if part == "validation" else without_training(split)
    with pytest.raises(ValueError, match=f"has no {part}"):
        fit(youtube(split), empty, TrainingConfig(monitor="Recall@10"), progress=False)


def without_training(split):
    return replace(split, train_events=np.zeros(len(split.log), dtype=bool))


def test_validation_never_sees_the_test_cases(split, monkeypatch):
    seen = []

    def evaluate(model, cases, cutoffs, *, exclude_history):
        seen.append(cases)
        return Evaluation({"Recall@10": torch.tensor([0.5])}, {})

    monkeypatch.setattr("mindlib.training.fitting.evaluate", evaluate)
    config = TrainingConfig(epochs=2, monitor="Recall@10", negatives=8)
    blind = replace(split, test=split.test[:0])
    fit(youtube(split), blind, config, device="cpu", progress=False)
    assert len(seen) == 2
    assert all(cases is split.validation for cases in seen)


def test_the_loss_is_looked_at_within_a_long_epoch(split, monkeypatch):
    """The first step without a finite loss is named, and not many are made after it."""
    monkeypatch.setattr("mindlib.training.epochs.STEPS_BETWEEN_CHECKS", 4)
    original, calls = mindlib.training.fitting.training_step, []

    def spoiled(*arguments):
        calls.append(1)
        return original(*arguments) * (math.inf if len(calls) == 6 else 1)

    monkeypatch.setattr("mindlib.training.fitting.training_step", spoiled)
    config = TrainingConfig(batch_size=8, negatives=8, monitor="Recall@10")
    with pytest.raises(FloatingPointError, match="the loss of epoch 1 is inf at step 6 of"):
        fit(youtube(split), split, config, device="cpu", progress=False)
    assert len(calls) == 8


def test_the_weights_of_the_best_epoch_are_kept_and_not_the_last_ones(split, monkeypatch):
    values, seen = [0.1, 0.5, 0.3, 0.4, 0.9], []

    def evaluate(model, cases, cutoffs, *, exclude_history):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return Evaluation({"Recall@10": torch.tensor([values[len(seen) - 1]])}, {})

    monkeypatch.setattr("mindlib.training.fitting.evaluate", evaluate)
    model = youtube(split)
    config = TrainingConfig(epochs=5, patience=2, batch_size=64, negatives=16, monitor="Recall@10")
    result = fit(model, split, config, device="cpu", progress=False)
    assert len(seen) == 4, "two epochs without a better value, then it stops"
    assert result.best_epoch == 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, seen[1][name]), name
        assert not torch.equal(value, seen[3][name]), name
