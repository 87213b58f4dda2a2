"""Many p in one world: the trials, and what is read off them."""

import numpy as np
import pytest
import torch

from mindlib.layers.attention import attention_weights
from mindlib.lessons.n03_attention import attention_trials
from mindlib.lessons.n03_attention.attention_museum import literal_pow
from mindlib.lessons.n03_attention.attention_study import mismatch
from mindlib.lessons.n03_attention.attention_trials import (
    METRIC,
    NAMES,
    POWERS,
    TwoWays,
    against,
    both_ways,
    by_rank,
    curves,
    epochs_until,
    laboratory,
    means,
    spread,
    telling_case,
    wrong_choices,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab():
    return laboratory(users=200, epochs=2, max_interests=3, seeds=2)


@pytest.fixture(scope="module")
def runs(lab):
    return lab.train_all(("p = 0", "p = ∞", "K = 1"), dim=8)


def test_every_trial_has_its_power_its_interests_and_its_epochs(lab, runs):
    assert list(runs) == ["p = 0", "p = ∞", "K = 1"]
    for name, trials in runs.items():
        assert len(trials) == 2
        for trial in trials:
            config = trial.model.config
            assert config.power == trial.power == POWERS.get(name, 1.0)
            assert config.routing.max_interests == (1 if name == "K = 1" else 3)
            assert (config.dim, config.power_form) == (8, "scaled")
            assert len(trial.fit.log) == lab.epochs
    assert set(NAMES) == {*POWERS, "K = 1"}


def test_seeds_differ_and_the_same_seed_repeats(lab, runs):
    first, second = (trial.fit.log[-1]["loss"] for trial in runs["p = 0"])
    assert first != second
    again = lab.train(0.0, dim=8)
    assert [t.fit.log[-1]["loss"] for t in again] == pytest.approx([first, second], rel=1e-5)


def test_the_form_reaches_the_model(lab):
    with pytest.raises(FloatingPointError, match="safe for negative scores"):
        lab.train(1.5, form="literal")


def test_the_bounds_are_a_floor_below_a_ceiling(lab):
    bounds = lab.bounds(lab.split.validation)
    assert 0 < bounds["popularity"] < bounds["oracle"] < 1


def test_curves_and_ranks_are_those_of_the_runs(runs):
    for key in ("loss", METRIC):
        found = curves(runs, key)
        assert list(found) == list(runs)
        assert found["p = ∞"][1].tolist() == [row[key] for row in runs["p = ∞"][1].fit.log]
    for kind in ("weight", "gradient"):
        ranks = by_rank(runs, kind)
        assert list(ranks) == ["p = 0", "p = ∞"]  # one vector has no ranks
        assert ranks["p = 0"] == pytest.approx(np.full((2, 3), 1 / 3), abs=1e-4)
        assert ranks["p = ∞"] == pytest.approx(np.array([[1, 0, 0]] * 2), abs=1e-5)


def test_epochs_until_by_hand():
    curve = np.array([[0.2, 0.4, 0.3], [0.4, 0.5, 0.6], [0.1, 0.1, 0.2]])
    needed = epochs_until(curve, 0.3)
    assert needed[:2] == pytest.approx([1.5, 0.75])
    assert np.isnan(needed[2])


def test_both_ways_are_the_means_of_the_mismatch(lab, runs):
    ways = both_ways(runs, lab.split.test)
    trial = runs["p = ∞"][1]
    found = mismatch(trial.model, lab.split.test, trial.power)
    way = ways["p = ∞"]
    assert way.attended[1] == pytest.approx(float((found.attended <= 10).double().mean()))
    assert way.served[1] == pytest.approx(float((found.served <= 10).double().mean()))
    assert way.overtaking[1] == pytest.approx(float(found.overtaken.mean()))
    assert way.overtaken[1] == pytest.approx(float((found.overtaken > 0).double().mean()))
    assert way.overtaking[1] > 0
    assert (ways["K = 1"].gap == 0).all()
    by_hand = TwoWays(np.array([0.5]), np.array([0.3]), np.array([0.1]), np.array([0.2]))
    assert by_hand.gap == pytest.approx([0.2])


def test_the_telling_case_is_the_first_that_keeps_every_part_of_the_rule(lab):
    cases = lab.split.test
    n = len(cases)
    users, targets = cases.histories.users.numpy(), cases.targets.numpy()
    meant = lab.world.interests[users, lab.world.item_clusters[targets]]
    hers, noise = np.flatnonzero(meant), np.flatnonzero(~meant)
    scores = torch.tensor([[1.0, -3.0, 2.0]]).repeat(n, 1)
    active = torch.ones(n, 3, dtype=torch.bool)
    assert telling_case(scores, active, lab.world, cases) == hers[0]
    active[int(hers[0]), 2] = False
    scores[int(hers[1]), 1] = -1.0
    assert telling_case(scores, active, lab.world, cases) == hers[2]
    active[torch.from_numpy(hers)] = False
    assert len(noise)
    with pytest.raises(ValueError, match="more users or more epochs"):
        telling_case(scores, active, lab.world, cases)


def test_wrong_choices_are_counted_with_the_models_own_power(lab, runs, monkeypatch):
    trial = runs["p = ∞"][0]
    assert wrong_choices(trial, attention_weights, lab.split.test) == 0
    asked = []

    def worst(scores, active, power):
        asked.append(power)
        return attention_weights(-scores, active, power)

    assert wrong_choices(trial, worst, lab.split.test) > 0.3
    assert asked == [trial.power]
    even = attention_trials.Trial(trial.model, 2.0, trial.fit)
    assert 0 < wrong_choices(even, literal_pow, lab.split.test) < 1


def test_words_by_hand():
    values = {"p = 0": np.array([0.5, 0.4]), "p = ∞": np.array([0.4, 0.42])}
    assert spread(values["p = 0"]) == "45.0 ± 7.1"
    assert spread([2.0], 2, 1) == "2.00 ± 0.00"
    assert against(values, "p = 0", "p = ∞") == "+4.0 ± 8.5 points, better in 1 of 2 seeds"
    assert against(values, "p = ∞", "p = 0") == "-4.0 ± 8.5 points, better in 1 of 2 seeds"
    assert means(values) == {"p=0": pytest.approx(0.45), "p=inf": pytest.approx(0.41)}
