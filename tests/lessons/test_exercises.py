"""Every exercise accepts its solution, and answers a stub and each known mistake differently."""

from importlib import import_module
from pathlib import Path

import pytest
import torch

from mindlib import lessons
from mindlib.lessons.common.staged import Exercise

FOLDER = Path(next(iter(lessons.__path__)))
EXERCISES = [
    value
    for path in sorted(FOLDER.glob("*/exercises.py"))
    for value in vars(import_module(f"mindlib.lessons.{path.parent.name}.exercises")).values()
    if isinstance(value, Exercise)
]
each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)


def test_every_notebook_has_exercises() -> None:
    assert len(list(FOLDER.glob("*/exercises.py"))) == len(list(FOLDER.glob("n[0-9]*/__init__.py")))


@each
def test_the_solution_passes(exercise: Exercise, capsys) -> None:
    assert exercise.check(exercise.solution)
    expected = (
        f"{exercise.name}: correct on {len(exercise.examples)} of {len(exercise.examples)} examples"
    )
    assert expected in capsys.readouterr().out


@each
def test_a_stub_is_told_that_nothing_is_returned(exercise: Exercise, capsys) -> None:
    assert not exercise.check(lambda *arguments: None)
    assert "nothing is returned yet" in capsys.readouterr().out


@each
def test_a_wrong_shape_is_told_with_both_shapes(exercise: Exercise, capsys) -> None:
    assert not exercise.check(lambda *arguments: torch.zeros(7, 7))
    assert "the shape is (7, 7); expected (" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("exercise", "message"),
    [(exercise, message) for exercise in EXERCISES for message in exercise.mistakes],
    ids=lambda x: x[:40] if isinstance(x, str) else x.name,
)
def test_each_mistake_has_its_own_message(exercise: Exercise, message: str, capsys) -> None:
    assert not exercise.check(exercise.mistakes[message])
    printed = capsys.readouterr().out
    assert [m for m in exercise.mistakes if m in printed] == [message]
