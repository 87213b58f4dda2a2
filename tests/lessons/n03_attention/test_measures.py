"""Two ways to score the targets of a model with several interests."""

import math
from dataclasses import dataclass

import pytest
import torch

from mindlib.data import Cases, Histories
from mindlib.evaluation import evaluate
from mindlib.lessons.n03_attention.measures import count_hits, label_losses
from mindlib.retrieval import top_by_best_interest

# Two vectors divide four films: 1 and 2 lie on the first axis, 3 and 4 on the second.
ITEMS = torch.tensor([[9.0, 9.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
FIRST, BOTH = torch.tensor([True, False]), torch.tensor([True, True])


@dataclass
class Fixed:
    """A model with the same interest vectors for every user."""

    vectors: torch.Tensor
    active: torch.Tensor
    items: torch.Tensor

    def interests(self, histories):
        users = len(histories)
        return self.vectors.expand(users, -1, -1), self.active.expand(users, -1)

    def item_vectors(self):
        return self.items

    def recommend(self, histories, n, *, exclude_history=True):
        return top_by_best_interest(
            self.interests, self.items, histories, n, exclude_history=exclude_history
        )


def cases(targets, histories, num_items):
    offsets = torch.tensor([0, *(len(t) for t in targets)]).cumsum(0)
    flat = torch.tensor([item for t in targets for item in t])
    return Cases(Histories.from_lists(histories), flat, offsets, num_items)


def test_an_interest_of_its_own_ranks_each_target_best():
    model = Fixed(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), BOTH, ITEMS)
    found = count_hits(model, cases([[2], [3], [3, 1]], [[1], [4], [2]], 4), 1)
    assert found.served.tolist() == [1, 0, 1]
    assert found.oracle.tolist() == [1, 1, 1]


def test_an_interest_that_the_user_lacks_ranks_nothing():
    model = Fixed(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), FIRST, ITEMS)
    found = count_hits(model, cases([[3]], [[4]], 4), 1)
    assert (found.served.tolist(), found.oracle.tolist()) == ([0], [0])


def test_the_served_hits_are_those_of_the_evaluation():
    generator = torch.Generator().manual_seed(0)
    vectors, items = (torch.randn(n, 5, generator=generator) for n in (3, 401))
    targets = [[n + 1, n + 2] if n % 3 else [n + 1] for n in range(300)]
    model = Fixed(vectors, torch.ones(3, dtype=torch.bool), items)
    some = cases(targets, [[400 - n % 50] for n in range(300)], 400)
    found, expected = count_hits(model, some, 20), evaluate(model, some, (20,))
    assert torch.equal(found.served.double(), expected.values["HitRate@20"].double())
    assert bool((found.oracle >= found.served).all())
    assert found.oracle.sum() > found.served.sum()


@pytest.mark.parametrize(("active", "hint"), [(BOTH, math.log(2)), (FIRST, 0.0)])
def test_the_hint_is_what_a_division_of_the_catalogue_wins(active, hint):
    model = Fixed(torch.tensor([[50.0, 0.0], [0.0, 50.0]]), active, ITEMS)
    found = label_losses(model, cases([[1], [2]], [[3], [4]], 4))
    torch.testing.assert_close(found.label, torch.full((2,), math.log(2)))
    torch.testing.assert_close(found.hint, torch.full((2,), hint))
    both = math.log(4) if hint else math.log(2)
    torch.testing.assert_close(found.candidate, torch.full((2,), both))
