"""The exercises of notebook 04: right ones pass, and each mistake meets its own message."""

import torch

from mindlib.lessons.n04_training.exercises import MERGE_LISTS, SAMPLED_LOSS


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
