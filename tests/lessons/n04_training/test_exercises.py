"""Other right answers to the exercises of notebook 04 pass too."""

import torch

from mindlib.lessons.n04_training.exercises import LEAK, LOG_EXPECTED


def test_other_ways_to_write_it_pass():
    def log_expected_counts(ids, counts, m):
        log_q = (0.75 * counts.double().log()).log_softmax(0)
        return log_q[ids] + torch.tensor(float(m)).log()

    def leak(items, label):
        items = items.clone()
        for row, own in zip(items, label, strict=True):
            row[int((row > 0).sum()) - 1] = own
        return items

    assert LOG_EXPECTED.check(log_expected_counts)
    assert LEAK.check(leak)
