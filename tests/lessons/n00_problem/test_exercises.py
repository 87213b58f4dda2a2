"""Notebook 00's exercises: the solution passes, the stub does not, each mistake hears its name."""

import pytest
import torch

from mindlib.layers.pooling import ItemEmbedding
from mindlib.lessons.common.staged import Exercise
from mindlib.lessons.n00_problem.exercises import BEST_INTEREST, POOLING
from mindlib.retrieval import score_by_best_interest

EXERCISES = [BEST_INTEREST, POOLING]
MISTAKES = [(e, message) for e in EXERCISES for message in e.mistakes]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_solution_passes(exercise: Exercise, capsys):
    assert exercise.check(exercise.solution)
    assert "right" in capsys.readouterr().out


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_stub_does_not(exercise: Exercise, capsys):
    assert not exercise.check(lambda *_: None)
    assert "nothing is returned yet" in capsys.readouterr().out


@pytest.mark.parametrize(("exercise", "message"), MISTAKES)
def test_each_mistake_is_recognised_by_its_own_message(exercise: Exercise, message, capsys):
    assert not exercise.check(exercise.mistakes[message])
    said = capsys.readouterr().out
    assert message in said
    assert not [other for other in exercise.mistakes if other != message and other in said]


@pytest.mark.parametrize(("exercise", "message"), MISTAKES)
def test_a_wrong_shape_is_told_before_wrong_values(exercise: Exercise, message, capsys):
    assert not exercise.check(lambda *arguments: exercise.mistakes[message](*arguments)[:, :1])
    assert "the shape is" in capsys.readouterr().out


def test_a_division_by_no_known_feature_is_noticed(capsys):
    def pool(table, codes):
        known = (codes > 0)[:, :, None]
        return (table[codes] * known).sum(1) / known.sum(1)

    assert not POOLING.check(pool)
    assert "not finite" in capsys.readouterr().out


def test_the_library_itself_solves_the_first():
    assert BEST_INTEREST.check(score_by_best_interest)


def test_the_library_itself_solves_the_second(generator):
    def pool(table, codes):
        module = ItemEmbedding(len(codes), table.shape[1], generator=generator)
        module.codes = torch.cat([codes.new_zeros(1, codes.shape[1]), codes])
        module.weight = torch.nn.Parameter(table)
        return module(torch.arange(1, len(codes) + 1)).detach()

    assert POOLING.check(pool)
