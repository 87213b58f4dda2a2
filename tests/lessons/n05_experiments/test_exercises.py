"""The library itself solves the exercises of notebook 05."""

import pytest
import torch

from mindlib.evaluation import compare
from mindlib.lessons.n05_experiments.exercises import ANY_LIST, PAIRED_INTERVAL


def test_the_library_itself_solves_the_interval():
    """It has Student's quantile instead of the normal distribution's 1.96."""
    for a, b in PAIRED_INTERVAL.examples:
        ours = PAIRED_INTERVAL.solution(a, b)
        library = compare(a.double().mean(0), b.double().mean(0))
        assert ours[0].item() == pytest.approx(library.value, abs=1e-6)
        assert library.low < ours[1] < ours[2] < library.high
        reach, students = (ours[2] - ours[1]).item(), library.high - library.low
        assert reach == pytest.approx(students, rel=0.15)


def test_lists_that_are_not_merged_never_find_less():
    for scores, active, is_target, n in ANY_LIST.examples:
        (merged,) = (wrong for text, wrong in ANY_LIST.mistakes.items() if "merges" in text)
        arguments = (scores, active, is_target, n)
        assert ANY_LIST.solution(*arguments) > merged(*arguments)


def test_any_list_as_a_reader_may_write_it():
    def with_loops(scores, active, is_target, n):
        hits = [
            any(
                active[user, k]
                and is_target[user, scores[user, k].argsort(descending=True)[:n]].any()
                for k in range(scores.shape[1])
            )
            for user in range(len(scores))
        ]
        return torch.tensor(hits).float().mean()

    assert ANY_LIST.check(with_loops)
