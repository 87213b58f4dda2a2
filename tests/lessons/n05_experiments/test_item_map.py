"""The map's measures of quality are high and low where they should be."""

import json

import numpy as np
import pytest
import torch

from mindlib.data import leave_last_out
from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.lessons.n05_experiments.item_map import (
    ItemMap,
    primary_genres,
    project,
    purity,
    trust,
)
from mindlib.lessons.n05_experiments.live_map import live_map
from mindlib.models import MIND
from mindlib.training import TrainingConfig, fit

# umap warns at import that a part of it, which is not used here, needs Tensorflow.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning"),
]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def blobs():
    """Two groups of directions with a large angle between them."""
    centers = np.repeat(np.eye(2, 8), 40, axis=0)
    return centers + 0.1 * RNG.standard_normal((80, 8)), np.repeat([0, 1], 40)


def test_two_separated_groups_are_pure_and_stay_apart_on_the_map(blobs):
    vectors, groups = blobs
    points = project(vectors, seed=3)
    assert purity(vectors, groups).mean() == purity(points, groups, "euclidean").mean() == 1
    assert trust(vectors, points) > 0.85
    assert np.array_equal(project(vectors, seed=3), points)
    assert not np.allclose(project(vectors, seed=4), points)
    assert trust(vectors, RNG.standard_normal((80, 2))) == pytest.approx(0.5, abs=0.1)


def test_purity_is_chance_for_shuffled_groups_and_ignores_norms(blobs):
    vectors, groups = blobs
    values = [purity(vectors, RNG.permutation(groups)).mean() for _ in range(20)]
    assert np.mean(values) == pytest.approx(39 / 79, abs=0.02)
    assert purity(vectors * RNG.uniform(0.01, 100, (80, 1)), groups).mean() == 1


def test_purity_by_hand_where_an_item_has_a_double():
    angles = np.array([0.0, 0.1, 0.3, 1.0])
    vectors = np.c_[np.cos(angles), np.sin(angles)]
    assert purity(vectors, np.array([0, 0, 1, 1]), neighbors=1).tolist() == [1, 1, 0, 1]
    double = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert not purity(double, np.array([0, 1, 0, 1]), neighbors=1).any()


def test_the_enlarged_square_holds_the_two_nearest_stars_and_no_other():
    stars = np.array([[0.0, 0.0], [9.0, 0.0], [10.0, 1.0]])
    view = ItemMap(10 * RNG.random((50, 2)), ["a"] * 50, ["a"], stars, ["x"] * 3, np.full(50, -1))
    (left, right), (low, high) = view.nearest_stars().values()
    inside = (stars > (left, low)).all(1) & (stars < (right, high)).all(1)
    assert inside.tolist() == [False, True, True]
    assert right - left == pytest.approx(high - low)


def test_training_makes_the_planted_clusters_purer():
    world = planted_interests(PlantedConfig(num_users=800, num_clusters=12))
    clusters, split = world.item_clusters[1:], leave_last_out(world.log)
    model = MIND(world.log, generator=torch.Generator().manual_seed(0))
    before = purity(model.item_vectors()[1:].detach().numpy(), clusters)
    fit(model, split, TrainingConfig(epochs=3, learning_rate=8e-3), progress=False)
    after = purity(model.item_vectors()[1:].detach().numpy(), clusters)
    assert after.mean() > before.mean() + 0.2


def test_the_primary_genre_is_the_rarest():
    log = planted_interests(PlantedConfig(num_users=50, num_clusters=8)).log
    codes, names = primary_genres(log, "department")
    assert log.item_features
    assert [names[code] for code in codes[1:]] == log.item_features.names("department")[1:]
    assert codes[0] == 0


def test_the_live_map_has_the_titles_that_it_may_show_and_no_address():
    points, counts = RNG.standard_normal((6, 2)), np.array([9, 1, 5, 2, 7, 3])
    view = ItemMap(points, list("aabbcc"), ["a", "b"], points[:2], ["x, y", "z"], np.arange(6) - 4)
    titles = ["</script>", *(f"film {i}" for i in range(1, 6))]

    def items(page):
        start = page.index("stars} = ") + len("stars} = ")
        data = json.JSONDecoder().raw_decode(page[start:])[0]
        assert {data["genres"][item[2]] for item in data["items"]} == {"a", "b", "c"}
        return data["items"]

    page = live_map(view, titles, counts)
    assert [item[3] for item in items(page)] == titles
    assert [item[4] for item in items(page)] == [-4, -3, -2, -1, 0, 1]
    assert page.count("</script>") == 1
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")

    few = live_map(view, titles, counts, titles=2)  # the user's items 4 and 5, and the top two
    assert [item[3] for item in items(few)] == ["</script>", "", "", "", "film 4", "film 5"]
    assert "film 2" not in few
