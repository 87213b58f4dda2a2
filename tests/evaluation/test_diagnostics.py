"""Diagnostics distinguish collapsed from healthy models, and ignore inactive interests."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from mindlib.data import Histories, PlantedConfig, planted_interests
from mindlib.evaluation import interest_cosine, routing_entropy
from mindlib.retrieval import Recommendations
from tests.recovery import recovered_interests


def test_interest_cosine_counts_active_pairs_only():
    vectors = torch.tensor([[[1.0, 0], [0, 2.0], [5.0, 0]], [[1.0, 1], [1, 1], [9, 9]]])
    active = torch.tensor([[True, True, False], [True, True, True]])
    assert interest_cosine(vectors, active).tolist() == pytest.approx([0, 1])
    alone = torch.tensor([[True, False, False]])
    assert interest_cosine(vectors[:1], alone).isnan().all()


def test_routing_entropy_is_one_when_even_and_zero_when_each_interest_copies_one_behavior():
    active = torch.ones(1, 2, dtype=torch.bool)
    even = torch.full((1, 2, 4), 0.5)
    assert routing_entropy(even, active).item() == pytest.approx(1)
    copies = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])
    assert routing_entropy(copies, active).item() == pytest.approx(0)
    assert routing_entropy(torch.ones(1, 2, 1), active).isnan().all()


def test_routing_entropy_is_a_mean_over_active_interests_only():
    """One interest has even weights (1), one copies a behaviour (0), the third is inactive."""
    coupling = torch.tensor([[[0.2, 0.2, 0.2, 0.2], [0.8, 0, 0, 0], [0, 0, 0, 0]]])
    active = torch.tensor([[True, True, False]])
    assert routing_entropy(coupling, active).item() == pytest.approx(0.5)


@dataclass(frozen=True)
class FixedInterests:
    """A model with given vectors."""

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


@pytest.mark.parametrize(("active", "expected"), [([True, True], 1.0), ([True, False], 0.5)])
def test_an_inactive_interest_recovers_nothing(active, expected):
    config = PlantedConfig(num_users=100, num_clusters=6, items_per_cluster=20)
    world = planted_interests(config, seed=0)
    (user, *_) = np.flatnonzero(world.interests.sum(1) == 2)
    own = torch.from_numpy(np.flatnonzero(world.interests[user]))
    histories = Histories(
        torch.from_numpy(world.log.items),
        torch.tensor([0]),
        torch.tensor([1]),
        torch.tensor([user]),
        torch.zeros((1, 0), dtype=torch.int64),
    )
    items = torch.eye(6)[torch.from_numpy(world.item_clusters)]
    model = FixedInterests(torch.eye(6)[own][None], torch.tensor([active]), items)
    assert recovered_interests(model, world, histories).tolist() == [expected]
