"""The map: the model itself answers, and a click is a behaviour like any other."""

import numpy as np
import pytest
import torch

from mindlib.lessons.n04_training.click_map import LISTED, Seen, click_map, moved
from mindlib.lessons.n04_training.serving_trials import served_model

pytestmark = pytest.mark.slow

SERVED = served_model(users=200, epochs=1)
VIEW = click_map(SERVED, 3)


def test_without_a_click_it_is_the_users_own_past():
    seen = VIEW.after(0, 0)
    histories = SERVED.split.test.histories
    vectors, active = SERVED.model.interests(histories.select(torch.tensor([3])))
    torch.testing.assert_close(seen.vectors, vectors[0])
    assert seen.active.tolist() == active[0].tolist()


def test_a_click_is_a_behaviour():
    for cluster in (0, 5):
        before, after = VIEW.after(cluster, 0), VIEW.after(cluster, 4)
        assert not torch.allclose(before.vectors, after.vectors)
        assert before.clusters.sum() == after.clusters.sum() == LISTED


def test_the_items_that_she_may_click_are_new_to_her_and_of_the_cluster():
    counts = SERVED.split.train_counts
    for cluster, items in VIEW.popular.items():
        assert not set(items) & set(VIEW.past)
        assert (SERVED.world.item_clusters[items] == cluster).all()
        assert (np.diff(counts[items]) <= 0).all()


def test_the_map_shows_the_two_widest_directions():
    vectors = SERVED.model.item_vectors()[1:]
    spread = torch.linalg.eigvalsh(torch.cov(vectors.T))
    np.testing.assert_allclose(VIEW.items.var(0, ddof=1), spread.flip(0)[:2], rtol=1e-3)
    seen = VIEW.after(0, 0)
    points = VIEW.shrink * (seen.vectors - VIEW.centre) @ VIEW.directions
    np.testing.assert_allclose(seen.points, points, atol=1e-5)


def test_interests_are_matched_by_where_they_are_and_not_by_number():
    def seen(vectors, active):
        none = np.zeros((3, 2))
        return Seen(torch.tensor(vectors), none, np.array(active), np.zeros(3, dtype=np.int64))

    before = seen([[0.0, 0.0], [9.0, 9.0], [5.0, 0.0]], [True, False, True])
    after = seen([[5.0, 1.0], [9.0, 9.0], [0.0, 1.0]], [True, True, True])
    assert moved(before, after) == [(0, 2), (2, 0)], "and number 1 is new"
