"""What `fit` does with its configuration, where the loss alone could not tell."""

import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.evaluation import Evaluation
from mindlib.models import YouTubeDNN, YouTubeDNNConfig
from mindlib.training import (
    NegativeSampler,
    TrainingConfig,
    batches,
    fit,
    proposal_probabilities,
    training_step,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def split():
    config = PlantedConfig(num_users=80, num_clusters=4, items_per_cluster=5, num_segments=2)
    return leave_last_out(planted_interests(config, seed=0).log)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def youtube(split):
    config = YouTubeDNNConfig(dim=8, hidden=(), history_length=10)
    return YouTubeDNN(split.log, config, generator=seeded(0))


@pytest.mark.parametrize("options", [{}, {"logq": False}])
def test_a_training_step_corrects_for_the_proposal_unless_told_not_to(split, options):
    config = TrainingConfig(negatives=50, proposal="popularity", **options)
    probabilities = proposal_probabilities("popularity", split.train_counts)
    sampler = NegativeSampler(probabilities, CPU)
    batch = next(batches(split.train, 32, seeded(1)))
    model = youtube(split)
    loss = training_step(model, batch, sampler, config, seeded(2))

    negatives, log_expected = sampler.draw(50, seeded(2))
    users = model.interests(batch.histories)[0][:, 0]
    items = model.item_vectors()
    logits = users @ items[negatives].T
    if "logq" not in options:
        logits = logits - log_expected
    logits[batch.targets[:, None] == negatives] = -torch.inf
    own = (users * items[batch.targets]).sum(1)
    expected = (torch.logaddexp(logits.logsumexp(1), own) - own).mean()
    torch.testing.assert_close(loss.detach(), expected)


def test_the_weights_of_the_best_epoch_are_kept_and_not_the_last_ones(split, monkeypatch):
    values, seen = [0.1, 0.5, 0.3, 0.4, 0.9], []

    def judge(model, cases, cutoffs, *, exclude_history):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return Evaluation({"Recall@10": torch.tensor([values[len(seen) - 1]])}, {})

    monkeypatch.setattr("mindlib.training.evaluate", judge)
    model = youtube(split)
    config = TrainingConfig(epochs=5, patience=2, batch_size=64, negatives=16, monitor="Recall@10")
    result = fit(model, split, config, device="cpu", progress=False)
    assert len(seen) == 4, "two epochs without a better value, then it stops"
    assert result.best_epoch == 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, seen[1][name]), name
        assert not torch.equal(value, seen[3][name]), name
