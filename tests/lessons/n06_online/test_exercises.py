"""The exercises of notebook 06: right ones pass, and each mistake meets its own message."""

import numpy as np
import torch

from mindlib.lessons.n06_online.exercises import ASSIGN, ATTRACTION, IN_TIME, SAMPLE_RATIO
from mindlib.online.simulation import sample_ratio
from mindlib.online.simulation.hashing import uniform


def test_the_library_itself_solves_the_sample_ratio():
    def library(counts, shares):
        return torch.tensor(sample_ratio(counts.numpy(), shares.tolist()))

    assert SAMPLE_RATIO.check(library)


def test_the_library_itself_solves_the_assignment():
    def library(users, key, shares):
        ends = np.cumsum(shares.double().numpy())[:-1]
        return torch.from_numpy(np.searchsorted(ends, uniform(key, users.numpy()), side="right"))

    assert ASSIGN.check(library)


def test_the_correction_finds_the_truth():
    """What the exercise is about: raw CTR follows the places, the corrected one the items."""
    draw = torch.Generator().manual_seed(0)
    truth = torch.tensor([0.0, 0.1, 0.3, 0.5])
    looks = torch.tensor([1.0, 0.3, 0.1])
    # The worst item stands first nearly always.
    order = torch.tensor([[1, 2, 3], [1, 2, 3], [1, 2, 3], [3, 2, 1]])
    lists = order.repeat(20_000, 1)
    clicked = torch.rand(lists.shape, generator=draw) < looks * truth[lists]
    corrected = ATTRACTION.solution(lists, clicked, looks, 3)
    raw = next(w for m, w in ATTRACTION.mistakes.items() if "raw" in m)(lists, clicked, looks, 3)
    torch.testing.assert_close(corrected, truth.double(), atol=0.02, rtol=0)
    assert abs(raw[3] - truth[3]) > 0.2


def test_the_merge_as_a_reader_may_write_it():
    def with_tensors(items, scores, milliseconds, budget, n):
        there = milliseconds <= budget
        best = torch.full((int(items.max()) + 1,), -torch.inf)
        best.scatter_reduce_(0, items[there].flatten(), scores[there].flatten(), "amax")
        order = best.argsort(descending=True)[: int(best.isfinite().sum())][:n]
        return torch.cat([order, order.new_zeros(n - len(order))])

    assert IN_TIME.check(with_tensors)
