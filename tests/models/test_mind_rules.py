"""The power of the attention, Gaussian initial logits, and the exclusion of the history."""

import math
from dataclasses import replace

import pytest
import torch

from mindlib.data import Histories, PlantedConfig, leave_last_out, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MIND, Interests, MINDConfig, Popularity, YouTubeDNN, YouTubeDNNConfig


@pytest.fixture(scope="module")
def log():
    return planted_interests(PlantedConfig(num_users=60, num_clusters=6), seed=0).log


def mind(log, **options):
    config = MINDConfig.paper(dim=8, hidden=(), **options)
    return MIND(log, config, generator=torch.Generator().manual_seed(0))


def test_training_sees_the_user_through_the_power_of_the_configuration(log):
    """softmax(p * score) over the active interests, for scores of both signs."""
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(5, 3, 8, generator=generator)
    labels = torch.randn(5, 8, generator=generator)
    active = torch.tensor([[True, True, True]] * 4 + [[True, False, False]])
    scores = (vectors @ labels[:, :, None]).squeeze(2)
    assert scores.min() < 0 < scores.max()
    for power in (0.0, 0.5, 3.0):
        seen = mind(log, power=power).readout(Interests(vectors, active, None), labels)
        for row in range(5):
            raised = [
                math.exp(power * score) if present else 0.0
                for score, present in zip(scores[row].tolist(), active[row].tolist(), strict=True)
            ]
            expected = sum(w / sum(raised) * v for w, v in zip(raised, vectors[row], strict=True))
            torch.testing.assert_close(seen[row], expected)


def test_the_interests_of_a_user_differ_in_training_and_in_evaluation(log):
    """Gaussian initial logits break the symmetry in both."""
    model = mind(log, routing=RoutingConfig.paper(max_interests=4), history_length=16)
    history = Histories.from_lists([list(range(1, 17))], [[1]]).window(16)
    behaviors = model.items(history.items.flatten()).unflatten(0, history.items.shape)
    for generator in (torch.Generator().manual_seed(0), None):
        vectors = model.encode(behaviors, history, generator=generator).vectors[0]
        assert torch.pdist(vectors).min() > 1e-3


def test_the_history_may_be_recommended_where_that_is_asked_for(log):
    generator = torch.Generator().manual_seed(0)
    histories = Histories.from_lists([[3, 5, 8], [1]], [[1], [2]])
    everything = list(range(1, log.num_items + 1))
    for model in (
        mind(log),
        YouTubeDNN(log, YouTubeDNNConfig.paper(dim=8), generator=generator),
        Popularity(leave_last_out(log).train_counts),
    ):
        with_history = model.recommend(histories, log.num_items, exclude_history=False).items
        assert sorted(with_history[0].tolist()) == everything
        without = model.recommend(histories, log.num_items).items
        assert set(everything) - set(without[0].tolist()) == {3, 5, 8}


def test_recency_weights_multiply_the_coupling_by_the_place_from_the_end(log):
    """v_k = S sum_i c_ik g_i e_i / sum_i c_ik g_i, where g is counted back from the last one."""
    length = 12
    config = MINDConfig(dim=8, hidden=None, history_length=length, recency=True)
    model = MIND(log, config, generator=torch.Generator().manual_seed(0))
    histories = Histories.from_lists([list(range(1, 13)), [4, 9, 2]], [[1]] * 2)
    generator = torch.Generator().manual_seed(0)
    equal = MIND(log, replace(config, recency=False), generator=generator)
    torch.testing.assert_close(model.interests(histories)[0], equal.interests(histories)[0])
    with torch.no_grad():
        model.recency.copy_(torch.linspace(1, -3, length))
    found = model.encode_histories(histories)
    assert found.coupling is not None
    for row, items in enumerate(([*range(1, 13)], [4, 9, 2])):
        vectors = model.items(torch.tensor(items)) @ model.routing.bilinear_map.T
        places = range(len(items) - 1, -1, -1)  # of the oldest behavior first
        weights = torch.tensor([math.exp(1 - 4 * place / (length - 1)) for place in places])
        for k in range(int(found.active[row].sum())):
            shares = found.coupling[row, k, : len(items)] * weights
            expected = (shares[:, None] * vectors).sum(0) / shares.sum()
            torch.testing.assert_close(found.vectors[row, k], expected)
    torch.testing.assert_close(found.coupling, equal.encode_histories(histories).coupling)


def test_a_window_without_a_recency_weight_for_each_place_is_refused(log):
    model = mind(log, history_length=4, recency=True)
    history = Histories.from_lists([[1, 2, 3, 4, 5]], [[1]]).window(5)
    with pytest.raises(ValueError, match="a window of 5 behaviors is too long"):
        model.encode(model.items(history.items[0])[None], history, generator=None)
