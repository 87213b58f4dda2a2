"""One ranker for all arms: it knows the past of a user and nothing of who retrieved what."""

from functools import cache

import numpy as np
import pytest
import torch

from mindlib.data import Histories, PlantedConfig, planted_interests
from mindlib.online.simulation import PlantedRanker, week
from tests.conftest import unchecked


@cache
def world():
    config = PlantedConfig(
        num_users=200, num_clusters=6, items_per_cluster=10, events=(8, 12), num_segments=3
    )
    return planted_interests(config, seed=0)


def of_cluster(cluster: int) -> np.ndarray:
    return np.flatnonzero(world().item_clusters == cluster)


def past(*clusters: int) -> Histories:
    """One user whose behaviours are of these clusters."""
    items = [[int(of_cluster(c)[n]) for n, c in enumerate(clusters)]]
    return Histories.from_lists(items, [[1]])


EVERY = torch.arange(1, 55)[None]


def test_without_noise_it_is_the_probability_that_the_past_tells():
    ranker = PlantedRanker(world(), noise=0.0)
    scores = ranker.score_lists(past(0, 0, 0, 4), EVERY)[0].exp()
    counts = np.array([3, 0, 0, 0, 1, 0]) + 1 / 6
    for item, score in zip(EVERY[0].tolist(), scores.tolist(), strict=True):
        cluster = world().item_clusters[item]
        expected = counts[cluster] / 5 * world().probabilities[cluster, item]
        assert score == pytest.approx(expected)


def test_a_click_counts_at_once_and_what_is_long_past_does_not(monkeypatch):
    monkeypatch.setattr(week, "HISTORY_LENGTH", 3)
    ranker = PlantedRanker(world(), noise=0.0)
    best = [
        int(ranker.score_lists(p, EVERY).argmax()) + 1 for p in (past(0, 0), past(0, 0, 5, 5, 5))
    ]
    assert world().item_clusters[best].tolist() == [0, 5]


def test_noise_belongs_to_user_and_item():
    ranker, still = PlantedRanker(world(), noise=0.7), PlantedRanker(world(), noise=0.0)
    histories = Histories.from_lists([[1, 2]] * 300, [[1]] * 300)
    candidates = EVERY.expand(300, -1)
    noise = ranker.score_lists(histories, candidates) - still.score_lists(histories, candidates)
    assert abs(float(noise.mean())) < 0.02
    assert float(noise.std()) == pytest.approx(0.7, abs=0.02)
    order = torch.randperm(EVERY.shape[1], generator=torch.Generator().manual_seed(0))
    part = order[:9]
    torch.testing.assert_close(
        ranker.score_lists(histories, candidates[:, part]),
        ranker.score_lists(histories, candidates)[:, part],
    )
    assert float(torch.corrcoef(noise[:2])[0, 1]) < 0.5, "another user, another noise"


@pytest.mark.parametrize("noise", [-1.0, float("nan")])
def test_impossible_noise_is_refused(noise):
    with pytest.raises(ValueError, match="noise="):
        unchecked(PlantedRanker, world=world(), noise=noise)
