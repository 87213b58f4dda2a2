"""The exercises of notebook 03: right ones pass, and each mistake meets its own message."""

import math

import pytest
import torch

from mindlib.lessons.n03_attention.exercises import ATTENTION_WEIGHTS, HARD_READOUT

EXERCISES = [ATTENTION_WEIGHTS, HARD_READOUT]
MISTAKES = [(e, message) for e in EXERCISES for message in e.mistakes]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_solution_passes(exercise, capsys):
    assert exercise.check(exercise.solution)
    assert f"{exercise.name}: right" in capsys.readouterr().out


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_stub_does_not(exercise, capsys):
    assert not exercise.check(lambda *arguments: None)
    assert "nothing is returned yet" in capsys.readouterr().out


@pytest.mark.parametrize(("exercise", "message"), MISTAKES, ids=lambda x: str(x)[:40])
def test_each_mistake_is_recognised_by_its_own_message(exercise, message, capsys):
    assert not exercise.check(exercise.mistakes[message])
    assert message in capsys.readouterr().out


def test_other_ways_to_write_it_pass():
    def weights(interests, active, label, power):
        scores = torch.einsum("bkd,bd->bk", interests, label)
        if math.isinf(power):
            scores = torch.where(active, scores, -1e30)
            return (scores == scores.amax(1, keepdim=True)).float()
        exps = torch.exp(power * scores) * active
        return exps / exps.sum(1, keepdim=True)

    def readout(interests, active, label):
        rows = []
        for v, a, e in zip(interests, active, label, strict=True):
            rows.append(max((x for x, has in zip(v, a, strict=True) if has), key=lambda x: x @ e))
        return torch.stack(rows)

    assert ATTENTION_WEIGHTS.check(weights)
    assert HARD_READOUT.check(readout)


def test_another_shape_is_named(capsys):
    assert not HARD_READOUT.check(lambda interests, active, label: interests)
    assert "the shape is" in capsys.readouterr().out
    best = HARD_READOUT.solution
    assert not HARD_READOUT.check(lambda *arguments: best(*arguments)[0])
    assert "expected (1, 2)" in capsys.readouterr().out
