"""The rules of the case study, each on interests whose answer is known."""

import numpy as np
import torch

from mindlib.lessons.n05_experiments.case_study import aligned, retrieved_by_each


def test_interests_of_other_runs_come_in_the_order_of_the_first():
    rng = np.random.default_rng(0)
    first = rng.dirichlet(np.full(5, 0.2), 12).T
    orders = [rng.permutation(5) for _ in range(4)]
    for result in aligned([first, *(first[order] for order in orders)]):
        np.testing.assert_array_equal(result, first)


def test_each_interest_retrieves_its_best_scores_outside_the_history():
    draw = torch.Generator().manual_seed(1)
    items = torch.randn(50, 4, generator=draw) * torch.rand(50, 1, generator=draw)
    items[0] = 100
    interests, exclude = torch.randn(3, 4, generator=draw), torch.tensor([3, 7, 20])
    best = retrieved_by_each(interests, items, 10, exclude)
    for k in range(3):
        score = {
            i: float(interests[k] @ items[i]) for i in range(1, 50) if i not in exclude.tolist()
        }
        assert best[k].tolist() == sorted(score, key=lambda i: -score[i])[:10]
