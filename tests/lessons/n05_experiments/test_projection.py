"""A picture is only worth its figures of quality: they must be high and low where they should."""

import numpy as np
import pytest

from mindlib.lessons.n05_experiments.projection import neighbor_purity, principal_plane, project

# umap warns at import that a part of it, which is not used here, needs Tensorflow.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning"),
]


@pytest.fixture(scope="module")
def blobs():
    """Two groups of directions, far apart by the angle between them."""
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(2, 8), 40, axis=0)
    return centres + 0.1 * rng.standard_normal((80, 8)), np.repeat([0, 1], 40)


@pytest.fixture(scope="module")
def projection(blobs):
    return project(blobs[0], neighbors=10, seed=3)


def test_two_separated_groups_are_pure_and_stay_apart_in_the_plane(blobs, projection):
    vectors, groups = blobs
    assert neighbor_purity(vectors, groups) == 1
    assert projection.points.shape == (80, 2)
    centres = [projection.points[groups == g].mean(0) for g in (0, 1)]
    radius = max(
        np.linalg.norm(projection.points[groups == g] - centres[g], axis=1).max() for g in (0, 1)
    )
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * radius


def test_trust_is_high_for_a_faithful_picture_and_near_a_half_for_a_random_one(blobs, projection):
    from sklearn.manifold import trustworthiness

    assert projection.trust > 0.9
    random = np.random.default_rng(0).standard_normal((80, 2))
    chance = trustworthiness(blobs[0], random, n_neighbors=10, metric="cosine")
    assert chance == pytest.approx(0.5, abs=0.1)
    own = trustworthiness(blobs[0], projection.points, n_neighbors=10, metric="cosine")
    assert projection.trust == pytest.approx(own)


def test_a_seed_gives_the_same_picture_again_and_another_seed_another(blobs, projection):
    again = project(blobs[0], neighbors=10, seed=3)
    assert np.array_equal(again.points, projection.points)
    other = project(blobs[0], neighbors=10, seed=4)
    assert not np.allclose(other.points, projection.points)


def test_the_settings_are_those_that_were_used(blobs, projection):
    assert projection.settings == "UMAP, cosine, n_neighbors 10, min_dist 0.1, seed 3"
    few = project(blobs[0][::8], neighbors=50, min_dist=0.2, seed=0)
    assert few.settings == "UMAP, cosine, n_neighbors 4, min_dist 0.2, seed 0"


def test_purity_is_near_chance_for_shuffled_groups(blobs):
    vectors, groups = blobs
    rng = np.random.default_rng(0)
    values = [neighbor_purity(vectors, rng.permutation(groups)) for _ in range(20)]
    assert np.mean(values) == pytest.approx(39 / 79, abs=0.02)


def test_purity_looks_at_angles_and_not_at_lengths(blobs):
    vectors, groups = blobs
    lengths = np.random.default_rng(1).uniform(0.01, 100, (80, 1))
    assert neighbor_purity(vectors * lengths, groups) == 1


def test_purity_by_hand():
    """On a quarter circle: a a b b; each one's nearest other."""
    angles = np.array([0.0, 0.1, 0.3, 1.0])
    vectors = np.c_[np.cos(angles), np.sin(angles)]
    assert neighbor_purity(vectors, np.array([0, 0, 1, 1]), neighbors=1) == 0.75


def test_an_item_is_not_a_neighbour_of_itself_even_beside_its_double():
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert neighbor_purity(vectors, np.array([0, 1, 0, 1]), neighbors=1) == 0


def test_the_principal_plane_is_that_of_the_covariance_of_the_directions(blobs):
    """By the eigenvectors of the covariance, up to the sign of each axis."""
    vectors = blobs[0]
    found = principal_plane(vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values, axes = np.linalg.eigh(np.cov(unit.T))
    expected = (unit - unit.mean(0)) @ axes[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(found.points), np.abs(expected), atol=1e-9)
    for axis in (0, 1):
        assert abs(np.corrcoef(found.points[:, axis], expected[:, axis])[0, 1]) > 1 - 1e-9
    first, second = values[[-1, -2]] / values.sum()
    assert found.settings == f"PCA of unit vectors: {first:.0%} and {second:.0%} of the variance"


def test_the_principal_plane_keeps_a_plane_and_loses_neighbours_in_many_dimensions():
    rng = np.random.default_rng(0)
    flat = np.c_[np.ones(60), 0.01 * rng.standard_normal((60, 2))]  # nearly a plane of directions
    round_ = rng.standard_normal((60, 40))
    kept, lost = principal_plane(flat).trust, principal_plane(round_).trust
    assert 0.5 < lost < 0.8 < 0.99 < kept <= 1


def test_the_principal_plane_looks_at_angles_alone(blobs):
    lengths = np.random.default_rng(1).uniform(0.01, 100, (80, 1))
    scaled = principal_plane(blobs[0] * lengths)
    np.testing.assert_allclose(scaled.points, principal_plane(blobs[0]).points, atol=1e-9)


@pytest.mark.parametrize("make", [principal_plane, lambda v: project(v, seed=0)])
def test_too_few_vectors_are_refused(make):
    with pytest.raises(ValueError, match="4 vectors: a projection needs at least five"):
        make(np.eye(4))


def test_vectors_of_one_number_have_no_plane():
    with pytest.raises(ValueError, match="vectors of 1 number: a plane needs at least two"):
        principal_plane(np.ones((9, 1)))
