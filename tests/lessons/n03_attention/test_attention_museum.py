"""Each variant of the museum breaks the rule that is named for it; mindlib's own breaks none."""

import math

import pytest
import torch

from mindlib.layers.attention import attention_weights
from mindlib.lessons.n03_attention.attention_museum import (
    EXHIBITS,
    RULES,
    argmax_of_pow,
    broken,
    random_scores,
    wrong_interest,
)
from tests.test_mutants import MUTANTS

NAMES = [exhibit.name for exhibit in EXHIBITS]
# Everything that a variant breaks at the power at which it is shown, its killer among them.
BREAKS = {
    "argmax of pow": {"follows the scores", "mean and argmax"},
    "literal pow, even p": {"follows the scores"},
    "literal pow, fractional p": {"sums to 1", "finite"},
    "no mask": {"sums to 1", "inactive is 0", "mean and argmax"},
    "mask after the softmax": {"sums to 1", "mean and argmax"},
    "score / p": {"mean and argmax"},
}


# The same mistake made in mindlib.layers.attention, where a named test must fail.
MUTANT = {
    "argmax of pow": "argmax of the power",
    "literal pow, even p": "literal power by default",
    "literal pow, fractional p": "literal power by default",
    "no mask": "inactive interests attended",
    "mask after the softmax": "inactive interests masked after the softmax",
    "score / p": "power divides the scores",
}


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=NAMES)
def test_each_variant_is_killed_by_its_rule_and_breaks_what_is_known(exhibit):
    shares = broken(exhibit.weights, *random_scores(500, 4, seed=1), exhibit.power)
    assert shares[exhibit.killer] > 0.1
    assert {name for name, share in shares.items() if share} == BREAKS[exhibit.name]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0, 1.5, 10.0, 100.0, math.inf])
@pytest.mark.parametrize("seed", range(3))
def test_our_own_breaks_no_rule(power, seed):
    scores, active = random_scores(500, 4, seed=seed)
    assert broken(attention_weights, 10 * scores, active, power) == dict.fromkeys(RULES, 0.0)
    if power:
        assert wrong_interest(attention_weights, scores, active, power) == 0


def test_a_variant_that_breaks_nothing_would_be_noticed():
    assert all(exhibit.killer in RULES for exhibit in EXHIBITS)
    assert set(BREAKS) == set(NAMES)


def test_each_variant_is_a_mutant_of_the_real_function():
    assert set(MUTANT) == set(NAMES)
    mutants = {m.rule for m in MUTANTS if m.module == "layers/attention.py"}
    assert set(MUTANT.values()) <= mutants


def test_each_rule_is_needed():
    assert {exhibit.killer for exhibit in EXHIBITS} == set(RULES)

    def half(scores, active, power):
        return attention_weights(scores, active, power) / 2

    shares = broken(half, *random_scores(100, 4, seed=0), 2.0)
    assert shares["sums to 1"] == 1
    assert shares["follows the scores"] == 0


def test_the_wrong_interest_by_hand():
    scores = torch.tensor([[-2.0, 0.6], [1.0, 0.5], [-1.0, 3.0]])
    active = torch.tensor([[True, True], [True, True], [True, False]])
    assert wrong_interest(argmax_of_pow, scores, active, 2.0) == pytest.approx(1 / 3)


def test_random_users_have_one_to_k_interests():
    scores, active = random_scores(4000, 4, seed=0)
    counts = active.sum(1)
    assert counts.unique().tolist() == [1, 2, 3, 4]
    assert torch.bincount(counts)[1:].min() > 800
    assert scores.mean().abs() < 0.05
    assert scores.std() == pytest.approx(1, abs=0.05)
