"""YouTube DNN by cosine: unit vectors, a temperature, and popularity out of the score."""

import pytest
import torch

from mindlib.data import Histories, PlantedConfig, leave_last_out, planted_interests
from mindlib.models import CosineDNN, CosineDNNConfig
from mindlib.training import TrainingConfig, fit

HISTORIES = Histories.from_lists([[1, 2, 3], [9, 4], []], [[1], [2], [3]])


@pytest.fixture(scope="module")
def log():
    return planted_interests(PlantedConfig(num_users=60, num_clusters=6), seed=0).log


def new(log, **options):
    config = CosineDNNConfig(dim=8, hidden=(8,), history_length=10, **options)
    return CosineDNN(log, config, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_a_score_is_the_cosine_over_the_temperature(log, temperature):
    model = new(log, temperature=temperature)
    items, vectors = model.item_vectors(), model.interests(HISTORIES)[0]
    torch.testing.assert_close(items[1:].norm(dim=1), torch.ones(log.num_items))
    assert not items[0].any(), "padding"
    lengths = vectors.norm(dim=2)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 1 / temperature))


def test_training_embeds_items_as_serving_does(log):
    model = new(log)
    ids = torch.tensor([3, 1, 7])
    torch.testing.assert_close(model.items(ids).detach(), model.item_vectors()[ids])


def test_how_long_an_embedding_is_does_not_matter(log):
    model = new(log)
    items, (vectors, _) = model.item_vectors(), model.interests(HISTORIES)
    with torch.no_grad():
        model.items.weight.mul_(3)
    torch.testing.assert_close(model.item_vectors(), items)
    torch.testing.assert_close(model.interests(HISTORIES)[0], vectors)


def test_it_learns(log):
    split = leave_last_out(log)
    model = new(log)
    config = TrainingConfig(epochs=4, batch_size=64, negatives=64, monitor="Recall@10")
    done = fit(model, split, config, device="cpu", progress=False)
    losses = [epoch.loss for epoch in done.log]
    assert losses[-1] < losses[0] - 0.2
