"""The upper bound on a generated world: a ranking by the true probabilities."""

from dataclasses import dataclass

import torch

from mindlib.data import Histories
from mindlib.data.planted import PlantedWorld
from mindlib.retrieval import Recommendations, top_items


@dataclass(frozen=True)
class Oracle:
    """Rank items by the true probabilities of a generated world."""

    world: PlantedWorld

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        def score(part: Histories) -> torch.Tensor:
            return torch.from_numpy(self.world.next_item_probabilities(part.users.numpy()))

        num_items = self.world.log.num_items
        return top_items(score, histories, n, num_items, exclude_history=exclude_history)
