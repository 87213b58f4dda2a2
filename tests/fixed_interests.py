"""A model whose users have the same interests, and cases from lists."""

from dataclasses import dataclass

import torch

from mindlib.data import Cases, Histories
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
