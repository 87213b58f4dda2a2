"""The exercises of notebook 02 accept other right answers and name a mistake."""

import pytest
import torch

from mindlib.layers.routing import squash
from mindlib.lessons.n02_b2i.exercises import ONE_ITERATION, REPEATABILITY


def test_one_iteration_with_a_loop_over_users():
    def with_loop(e, mask, active, S, b):
        result = torch.zeros(*active.shape, e.shape[2])
        for user in range(len(mask)):
            logits = b[user][active[user]][:, mask[user]]
            result[user, active[user]] = squash(logits.softmax(0) @ e[user, mask[user]] @ S.T)
        return result

    assert ONE_ITERATION.check(with_loop)


@pytest.mark.parametrize(
    ("exercise", "wrong", "word"),
    [
        (ONE_ITERATION, lambda e, mask, active, S, b: e @ S.T, "the shape is (1, 6, 4)"),
        (REPEATABILITY, lambda a, b: (a * b).sum(1).mean(), "interests have no order"),
    ],
)
def test_a_wrong_answer_is_explained(exercise, wrong, word, capsys):
    assert not exercise.check(wrong)
    assert word in capsys.readouterr().out
