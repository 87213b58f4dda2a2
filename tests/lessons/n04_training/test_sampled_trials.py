"""The trials of the negatives: the same as `fit` trains, and the mistake is a mistake."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mindlib.evaluation import evaluate
from mindlib.lessons.n04_training.sampled_trials import (
    METRIC,
    MistakenSampler,
    Setting,
    laboratory,
    lead,
    settings,
)
from mindlib.training import TrainingConfig, fit
from mindlib.training.sampled_softmax import NegativeSampler, proposal_probabilities

LAB = laboratory(users=60, epochs=1, seeds=2)
TRAINING = TrainingConfig(
    epochs=1, batch_size=256, negatives=32, learning_rate=2e-2, monitor=METRIC
)


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_trial_is_what_fit_does(in_batch):
    training = replace(TRAINING, in_batch=in_batch)
    model = LAB.model(1)
    fit(model, LAB.split, replace(training, seed=1), device="cpu", progress=False)
    expected = evaluate(model, LAB.split.validation, (10,)).means()[METRIC]
    assert LAB.trial(Setting("", training), 1) == pytest.approx(expected)


def test_passes_are_more_epochs():
    model = LAB.model(0)
    training = replace(TRAINING, epochs=3, patience=3)
    fit(model, LAB.split, training, device="cpu", progress=False)
    expected = fit(LAB.model(0), LAB.split, training, device="cpu", progress=False).log[-1][METRIC]
    assert LAB.trial(Setting("", TRAINING, passes=3), 0) == pytest.approx(expected)


def test_the_mistaken_sampler_takes_all_for_drawn():
    q = proposal_probabilities("uniform", LAB.split.train_counts)
    p = np.r_[0, np.linspace(1, 2, len(q) - 1)]
    p /= p.sum()
    drawn, in_batch = torch.tensor([1, 2, 3]), torch.tensor([4, 5])
    ids, wrong = MistakenSampler(q, torch.device("cpu"), p).add_in_batch(drawn, in_batch)
    same, right = NegativeSampler(q, torch.device("cpu"), p).add_in_batch(drawn, in_batch)
    assert torch.equal(ids, same)
    torch.testing.assert_close(wrong, torch.full((5,), float(np.log(4 * q[1]))))
    assert (wrong - right).abs().max() > 0.05


def number(setting, seed):
    """Another one for each setting and seed."""
    t = setting.training
    parts = (t.negatives, t.batch_size, t.proposal, t.logq, t.in_batch, setting.mistaken)
    return float(hash((*parts, setting.passes)) % 10**6) + seed


def test_equal_settings_are_trained_once(monkeypatch):
    seen = []

    def trial(self, setting, seed):
        seen.append(setting)
        return number(setting, seed)

    monkeypatch.setattr(type(LAB), "trial", trial)
    groups = settings()
    found = LAB.run(groups)
    distinct = {replace(s, name="") for group in groups.values() for s in group}
    assert len(seen) == 2 * len(distinct) < 2 * sum(map(len, groups.values()))
    for title, group in groups.items():
        assert list(found[title]) == [setting.name for setting in group]
        for setting in group:
            expected = [number(setting, seed) for seed in range(2)]
            assert found[title][setting.name].tolist() == expected


def test_the_bounds_are_floor_and_ceiling():
    bounds = laboratory(users=200, epochs=1, seeds=1).bounds()
    assert 0 < bounds["popularity"] < bounds["oracle"] < 1


def test_a_lead_is_paired_and_has_its_interval():
    each, mean = lead(np.array([0.3, 0.2, 0.4]), np.array([0.2, 0.2, 0.2]))
    assert each == "+10.0, +0.0, +20.0"
    # Student's 4.303 for two degrees of freedom, times 10 / sqrt(3).
    assert mean == "+10.0 (-14.8 to +34.8)"
    assert lead(np.array([0.3]), np.array([0.2])) == ("+10.0", "+10.0 (one seed)")
