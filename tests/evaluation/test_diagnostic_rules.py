"""Interests that a user does not have count in no diagnostic."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from mindlib.data import Histories, PlantedConfig, planted_interests
from mindlib.evaluation import recovered_interests, routing_entropy
from mindlib.retrieval import Recommendations


def test_routing_entropy_is_a_mean_over_active_interests_only():
    """One interest draws evenly (1), one copies a behaviour (0), the third is not there."""
    coupling = torch.tensor([[[0.2, 0.2, 0.2, 0.2], [0.8, 0, 0, 0], [0, 0, 0, 0]]])
    active = torch.tensor([[True, True, False]])
    assert routing_entropy(coupling, active).item() == pytest.approx(0.5)


@dataclass(frozen=True)
class Given:
    """A model with the vectors that it is given."""

    vectors: Tensor
    active: Tensor
    items: Tensor

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        raise NotImplementedError

    def interests(self, histories: Histories) -> tuple[Tensor, Tensor]:
        return self.vectors, self.active

    def item_vectors(self) -> Tensor:
        return self.items


def test_an_inactive_interest_recovers_nothing():
    config = PlantedConfig(num_users=100, num_clusters=6, items_per_cluster=20)
    world = planted_interests(config, seed=0)
    (user, *_) = np.flatnonzero(world.interests.sum(1) == 2)
    own = torch.from_numpy(np.flatnonzero(world.interests[user]))
    items = torch.eye(6)[torch.from_numpy(world.item_clusters)]
    histories = Histories(
        torch.from_numpy(world.log.items),
        torch.tensor([0]),
        torch.tensor([1]),
        torch.tensor([user]),
        torch.zeros((1, 0), dtype=torch.int64),
    )
    vectors = torch.eye(6)[own][None]
    for active, expected in (([True, True], 1.0), ([True, False], 0.5)):
        model = Given(vectors, torch.tensor([active]), items)
        assert recovered_interests(model, world, histories).tolist() == [expected]
