"""The exercises of notebook 06 accept the library's functions and a reader's own."""

import torch

from mindlib.lessons.n06_online.exercises import IN_TIME, SAMPLE_RATIO
from mindlib.online.simulation import sample_ratio


def test_the_library_itself_solves_the_sample_ratio():
    def library(counts, shares):
        return torch.tensor(sample_ratio(counts.numpy(), shares.tolist()))

    assert SAMPLE_RATIO.check(library)


def test_the_merge_as_a_reader_may_write_it():
    def with_tensors(items, scores, milliseconds, budget, n):
        arrived = milliseconds <= budget
        best = torch.full((int(items.max()) + 1,), -torch.inf)
        best.scatter_reduce_(0, items[arrived].flatten(), scores[arrived].flatten(), "amax")
        order = best.argsort(descending=True)[: int(best.isfinite().sum())][:n]
        return torch.cat([order, order.new_zeros(n - len(order))])

    assert IN_TIME.check(with_tensors)
