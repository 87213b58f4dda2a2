"""What one vector can retrieve, against brute force, and the theorem that decides it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.lessons.n00_problem.geometry import (
    BETWEEN,
    REST,
    circle_world,
    climb,
    common_point,
    directions,
    every_ranking,
    random_clusters,
    recall_of_each,
    retrieved,
    separating_vector,
    servable,
    sweep,
)


def angle_between(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.rad2deg(torch.arccos(torch.dot(a, b) / a.norm() / b.norm())))


@pytest.mark.parametrize("angle", [40.0, 100.0, 180.0])
def test_the_circle_has_its_clusters_where_it_says(angle):
    world = circle_world(angle, per_cluster=6)
    assert world.items.norm(dim=1).numpy() == pytest.approx(1)
    assert world.clusters.bincount().tolist() == [6, 6, 6, 12]
    assert world.liked.sum(1).tolist() == [6, 6]
    assert angle_between(*world.centres) == pytest.approx(angle)
    third = world.items[world.clusters == BETWEEN].mean(0)
    assert [angle_between(c, third) for c in world.centres] == pytest.approx([angle / 2] * 2)
    far = world.items[world.clusters == REST]
    assert min(angle_between(item, third) for item in far) > angle / 2


def test_the_rest_can_be_left_out():
    assert circle_world(rest=False).clusters.max() == BETWEEN


@pytest.mark.parametrize("angle", [10.0, 190.0, float("nan")])
def test_clusters_that_would_touch_are_refused(angle):
    with pytest.raises(ValueError, match=r"angle=.*expected 36\.0 to 180 degrees"):
        circle_world(angle)


@given(st.integers(0, 10_000), st.integers(2, 7))
def test_no_ranking_is_left_out_and_none_comes_twice(seed, n):
    items = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    angles = every_ranking(items)
    assert len(angles) == n * (n - 1)
    orders = {tuple(row) for row in (directions(angles) @ items.T).argsort(1).tolist()}
    assert len(orders) == len(angles)
    fine = directions(torch.arange(0, 360, 0.25, dtype=torch.float64))
    assert {tuple(row) for row in (fine @ items.T).argsort(1).tolist()} <= orders


def test_retrieved_takes_the_best_of_the_vectors(generator):
    items = torch.randn(50, 3, generator=generator)
    vectors = torch.randn(4, 2, 3, generator=generator)
    found = retrieved(vectors, items, 7)
    for query, row in zip(vectors, found, strict=True):
        scores = [max(float(v @ item) for v in query) for item in items]
        assert set(row.nonzero().flatten().tolist()) == set(np.argsort(scores)[-7:].tolist())


def test_recall_counts_for_each_interest():
    found = torch.tensor([[True, True, False, False, True]])
    liked = torch.tensor([[[True, False, True, False, False], [False, True, False, False, True]]])
    assert recall_of_each(found, liked).tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize("angle", [40.0, 100.0, 180.0])
def test_in_the_plane_no_ranking_serves_both_and_two_vectors_do(angle):
    world = circle_world(angle)
    _, recalls = sweep(world, 16)
    assert recalls.amin(1).max() == 0.5
    assert recalls.amax(0).tolist() == [1, 1]
    both = retrieved(world.centres[None], world.items, 16)
    assert recall_of_each(both, world.liked[None]).tolist() == [[1, 1]]


def test_without_the_rest_one_vector_points_away_in_more_ways_the_wider_the_angle():
    reach = []
    for angle in (40.0, 100.0, 180.0):
        angles, recalls = sweep(circle_world(angle, rest=False), 16)
        good = angles[recalls.amin(1) == 1] % 360
        assert 135 < good.min() < 180 < good.max() < 225
        reach.append(float(good.max() - good.min()))
    assert reach == sorted(reach)
    assert reach[0] < reach[-1]


def test_the_sweep_says_what_each_direction_retrieves():
    world = circle_world(100.0)
    angles, recalls = sweep(world, 16)
    assert len(angles) == len(every_ranking(world.items))
    assert -180 <= angles.min() < -90
    assert 90 < angles.max() < 180
    for angle, both in list(zip(angles, recalls, strict=True))[::50]:
        best = (world.items @ directions(angle[None])[0]).topk(16).indices
        share = [float(row[best].sum() / row.sum()) for row in world.liked]
        assert both.tolist() == share


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_there_is_a_vector_or_a_common_point_but_never_both(seed, n, m, dim):
    rng = np.random.default_rng(seed)
    liked, others = rng.standard_normal((n, dim)), rng.standard_normal((m, dim))
    vector, point = separating_vector(liked, others), common_point(liked, others)
    assert (vector is None) != (point is None)
    if vector is not None:
        assert (liked @ vector).min() > (others @ vector).max()
    if point is not None:
        random = rng.standard_normal((200, dim))
        assert ((liked @ random.T).min(0) <= point @ random.T + 1e-7).all()
        assert (point @ random.T <= (others @ random.T).max(0) + 1e-7).all()


def test_the_verdict_of_the_program_is_that_of_trying_every_ranking():
    agree = []
    for seed in range(40):
        items = np.random.default_rng(seed).standard_normal((6, 2))
        orders = directions(every_ranking(torch.from_numpy(items))).numpy() @ items.T
        by_search = bool((orders[:, :2].min(1) > orders[:, 2:].max(1)).any())
        assert by_search == (separating_vector(items[:2], items[2:]) is not None)
        agree.append(by_search)
    assert 0 < sum(agree) < len(agree), "both verdicts occur"


def test_random_clusters_are_clusters():
    items = random_clusters(5, 6, 32, seed=0)
    assert items.shape == (5, 6, 32)
    assert np.linalg.norm(items, axis=2) == pytest.approx(1)
    cosine = np.einsum("cid,ejd->ceij", items, items).mean((2, 3))
    assert np.diag(cosine).min() > 0.7
    assert (cosine - np.diag(np.diag(cosine))).max() < 0.6
    assert (random_clusters(5, 6, 32, seed=0) == items).all()
    assert (random_clusters(5, 6, 32, seed=1) != items).any()


def test_more_dimensions_serve_more_users_and_more_interests_fewer():
    two = servable((2, 24), 2, draws=10)
    assert [share for share, _, _ in two.values()] == [0, 1]
    assert servable((8,), 2, draws=20)[8][0] >= servable((8,), 4, draws=20)[8][0]


def test_fuller_clusters_are_harder():
    thin, full = (servable((16,), 2, draws=20, per_cluster=size)[16][0] for size in (4, 35))
    assert full < thin


def test_the_interval_of_a_share_is_wilsons():
    share, low, high = servable((2,), 2, draws=20)[2]
    # 0 of 20: z^2 / (n + z^2) with z = 1.96.
    assert (share, low, high) == pytest.approx((0, 0, 1.96**2 / (20 + 1.96**2)), abs=1e-4)


def test_climbing_finds_a_vector_where_there_is_one(generator):
    items = torch.from_numpy(random_clusters(12, 8, 24, seed=3).reshape(-1, 24)).float()
    clusters = torch.arange(96) // 8
    liked = torch.stack([clusters == torch.tensor([[a], [a + 1]]) for a in range(0, 10, 2)])
    start = torch.randn(len(liked), 24, generator=generator)
    before = recall_of_each(retrieved(start[:, None], items, 16), liked).amin(1)
    after = recall_of_each(retrieved(climb(start, items, liked)[:, None], items, 16), liked).amin(1)
    assert (after == 1).all()
    assert (before < 1).all()


def test_climbing_does_not_hang_on_the_scale_of_the_items(generator):
    items = torch.randn(40, 6, generator=generator)
    liked = (torch.arange(40) < torch.tensor([[5], [10]]))[None]
    liked[0, 1] &= ~liked[0, 0]
    start = torch.randn(1, 6, generator=generator)
    one, large = (climb(start, scale * items, liked, steps=20) for scale in (1, 100))
    torch.testing.assert_close(one, large)


def test_climbing_leaves_its_start_alone(generator):
    start = torch.randn(1, 4, generator=generator)
    copy = start.clone()
    items = torch.randn(10, 4, generator=generator)
    climb(start, items, (torch.arange(10) < torch.tensor([[3], [3]]))[None], steps=3)
    assert torch.equal(start, copy)
