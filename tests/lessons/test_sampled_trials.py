"""The trials of the negatives: the same as `fit` trains, and the mistake is a mistake."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mindlib.evaluation import evaluate
from mindlib.lessons.sampled_trials import METRIC, MistakenSampler, Setting, laboratory, settings
from mindlib.sampling import NegativeSampler, proposal_probabilities
from mindlib.training import TrainingConfig, fit

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
    ids, wrong = MistakenSampler(q, torch.device("cpu"), p).mix(drawn, in_batch)
    same, right = NegativeSampler(q, torch.device("cpu"), p).mix(drawn, in_batch)
    assert torch.equal(ids, same)
    torch.testing.assert_close(wrong, torch.full((5,), float(np.log(4 * q[1]))))
    assert (wrong - right).abs().max() > 0.05


def test_equal_settings_are_trained_once(monkeypatch):
    seen = []
    monkeypatch.setattr(
        type(LAB), "trial", lambda self, setting, seed: seen.append(setting.name) or float(seed)
    )
    groups = settings()
    found = LAB.run(groups)
    distinct = {replace(s, name="") for group in groups.values() for s in group}
    assert len(seen) == 2 * len(distinct) < 2 * sum(map(len, groups.values()))
    for title, group in groups.items():
        assert list(found[title]) == [setting.name for setting in group]
        assert all(values.tolist() == [0, 1] for values in found[title].values())


def test_the_bounds_are_floor_and_ceiling():
    bounds = laboratory(users=200, epochs=1, seeds=1).bounds()
    assert 0 < bounds["popularity"] < bounds["oracle"] < 1
