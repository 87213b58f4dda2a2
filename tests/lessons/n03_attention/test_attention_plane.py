"""One user's plane: mixtures stay mixtures, and colours are true clusters."""

import math

import numpy as np
import pytest
import torch

from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.data.splits import leave_last_out
from mindlib.lessons.n03_attention.attention_plane import (
    favourite_clusters,
    labels_to_try,
    user_plane,
)
from mindlib.models import MIND, MINDConfig


@pytest.fixture(scope="module")
def scene():
    config = PlantedConfig(num_users=80, num_clusters=6, items_per_cluster=8, num_segments=3)
    world = planted_interests(config, seed=0)
    cases = leave_last_out(world.log).test
    generator = torch.Generator().manual_seed(0)
    model = MIND(world.log, MINDConfig.paper(dim=8, hidden=(8,)), generator=generator)
    case = int(model.interests(cases.histories)[1].all(1).nonzero()[0])
    return model, cases, case, world


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0, math.inf])
def test_the_attended_vector_is_the_mixture_of_the_stars(scene, power):
    _, cases, case, _ = scene
    seen = user_plane(*scene).at(int(cases.targets[case]), power)
    assert seen.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(seen.attended, seen.weights @ seen.interests, atol=1e-5)
    if power == math.inf:
        np.testing.assert_allclose(seen.attended, seen.interests[seen.scores.argmax()], atol=1e-5)


def test_the_scores_are_the_models_own_and_the_label_is_the_item(scene):
    model, cases, case, _ = scene
    target = int(cases.targets[case])
    seen = user_plane(*scene).at(target, 1.0)
    vectors = model.interests(cases.histories)[0][case]
    expected = (vectors @ model.item_vectors()[target]).numpy()
    np.testing.assert_allclose(seen.scores, expected, atol=1e-5)
    np.testing.assert_array_equal(seen.label, seen.items[target - 1])


def test_groups_are_her_true_clusters(scene):
    _, cases, case, world = scene
    seen = user_plane(*scene).at(1, 1.0)
    hers = np.flatnonzero(world.interests[int(cases.histories.users[case])])
    for cluster, group in zip(world.item_clusters[1:], seen.groups, strict=True):
        assert group == (list(hers).index(cluster) if cluster in hers else -1)
    assert set(seen.families) <= set(range(-1, len(hers)))


def test_favourite_clusters_by_hand():
    items = torch.tensor([[0.0, 0], [5, 0], [4, 0], [3, 1], [0, 5], [0, 4]])
    clusters = np.array([-1, 0, 0, 1, 1, 1])
    vectors = torch.tensor([[1.0, 0], [0, 1]])
    assert favourite_clusters(vectors, items, clusters, nearest=3).tolist() == [0, 1]


def test_labels_to_try_are_hers_and_one_that_is_not(scene):
    _, cases, case, world = scene
    mine = world.interests[int(cases.histories.users[case])]
    first, *others = labels_to_try(world, cases, case).items()
    assert first[1] == int(cases.targets[case])
    assert len(others) == mine.sum() + 1
    for name, item in others:
        assert mine[world.item_clusters[item]] == name.endswith("(hers)")
