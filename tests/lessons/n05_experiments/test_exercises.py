"""The exercises of notebook 05: solutions pass, stubs fail, each mistake meets its own message."""

import numpy as np
import pytest
import torch

from mindlib.data.histories import Histories
from mindlib.data.splits import Cases
from mindlib.evaluation import compare, evaluate
from mindlib.lessons.n05_experiments.exercises import (
    EXCLUDE_HISTORY,
    FIND_THE_LEAK,
    HIT_RATE,
    PAIRED_INTERVAL,
)
from mindlib.retrieval import Recommendations, top_items


class Lists:
    """A recommender that has its lists already."""

    def __init__(self, lists):
        self.lists = lists

    def recommend(self, histories, n, *, exclude_history=True):
        found = self.lists[histories.users - 1, :n]
        return Recommendations(found, torch.zeros(found.shape))


def test_the_library_itself_solves_hit_rate():
    def library(lists, targets, n):
        known = targets > 0
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), known.sum(1).cumsum(0)])
        past = Histories.from_lists([[] for _ in lists])
        cases = Cases(past, targets[known], offsets, 9)
        found = evaluate(Lists(lists), cases, [n])
        return torch.tensor(found.means()[f"HitRate@{n}"])

    assert HIT_RATE.check(library)


def test_the_library_itself_solves_the_interval():
    """But for Student's quantile, which `compare` takes instead of the normal's 1.96."""
    for a, b in PAIRED_INTERVAL.examples:
        ours = PAIRED_INTERVAL.solution(a, b)
        library = compare(a.double().mean(0), b.double().mean(0))
        assert ours[0].item() == pytest.approx(library.value, abs=1e-6)
        assert library.low < ours[1] < ours[2] < library.high
        reach, students = (ours[2] - ours[1]).item(), library.high - library.low
        assert reach == pytest.approx(students, rel=0.15)


def test_the_library_itself_solves_exclusion():
    def library(scores, history, n):
        past = Histories.from_lists([[i for i in row if i] for row in history.tolist()])
        return top_items(
            lambda part: scores[part.users - 1].clone(),
            past,
            n,
            scores.shape[1] - 1,
            exclude_history=True,
        ).items

    assert EXCLUDE_HISTORY.check(library)


def test_the_report_as_a_reader_may_write_it():
    def with_loops(validation, test):
        means, figures = [], []
        for setting in range(len(validation)):
            stops = [int(np.argmax(run)) for run in validation[setting].numpy()]
            seeds = range(len(stops))
            means.append(np.mean([validation[setting, s, stops[s]] for s in seeds]))
            figures.append(np.mean([test[setting, s, stops[s]] for s in seeds]))
        return torch.tensor(figures[int(np.argmax(means))])

    assert FIND_THE_LEAK.check(with_loops)


def test_a_leak_flatters():
    """What the exercise is about: the leaking figures are higher, on average over many draws."""
    from mindlib.lessons.n05_experiments.exercises import _curves, _reported

    clean, leaking = [], []
    for seed in range(200):
        curves = _curves(seed, 6, 3, 8)
        clean.append(_reported()(*curves))
        leaking.append(_reported(epoch="test", setting="test")(*curves))
    assert torch.stack(leaking).mean() > torch.stack(clean).mean() + 0.005
