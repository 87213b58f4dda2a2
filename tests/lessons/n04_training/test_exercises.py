"""The exercises of notebook 04: right ones pass, and each mistake meets its own message."""

import pytest
import torch

from mindlib.lessons.n04_training.exercises import MERGE_LISTS, SAMPLED_LOSS

EXERCISES = [SAMPLED_LOSS, MERGE_LISTS]
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
    def loss(users, targets, negatives, target_ids, negative_ids, log_q):
        q, n = log_q.exp(), len(negative_ids)
        total = 0.0
        for v, e, own in zip(users, targets, target_ids, strict=True):
            rest = sum(
                torch.exp(v @ x) / (n * q[j])
                for x, j in zip(negatives, negative_ids, strict=True)
                if j != own
            )
            total = total - torch.log(torch.exp(v @ e) / (torch.exp(v @ e) + rest))
        return total / len(users)

    def lists(items, scores, active, n):
        best = torch.full((len(items), 100), -torch.inf)
        for user, k in active.nonzero():
            best[user].scatter_reduce_(0, items[user, k], scores[user, k], "amax")
        value, item = best.topk(n)
        return item.masked_fill(value == -torch.inf, 0)

    assert SAMPLED_LOSS.check(loss)
    assert MERGE_LISTS.check(lists)


def test_another_shape_is_named(capsys):
    def of_each_user(users, targets, *others):
        return (users * targets).sum(1)

    assert not SAMPLED_LOSS.check(of_each_user)
    assert "the shape is (1,); expected ()" in capsys.readouterr().out
    assert not MERGE_LISTS.check(lambda items, *others: items)
    assert "expected (1, 3)" in capsys.readouterr().out
