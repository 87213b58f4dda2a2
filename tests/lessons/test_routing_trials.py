"""The instruments of notebook 02 measure what they say."""

import math

import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.layers.routing import RoutingConfig, num_interests
from mindlib.lessons.routing_trials import (
    Estimate,
    average,
    best_match,
    diagnose,
    gradient_cosines,
    initial_logits,
    planted_users,
    random_logits,
    recovered_clusters,
    recovery,
    recovery_by_scale,
    recovery_from,
    reproducibility,
    route_padded,
    route_users,
    routing_with,
    saving,
    share,
    train_reading,
)
from mindlib.models import MINDConfig
from mindlib.training import TrainingConfig

THREE = RoutingConfig(max_interests=3)


@pytest.fixture
def users(generator):
    return planted_users(40, generator=generator)


def test_planted_users_have_embeddings_of_the_given_length_in_clusters(generator):
    users = planted_users(5, clusters=2, per_cluster=3, scale=2.5, noise=0.0, generator=generator)
    assert users.behaviors.shape == (5, 6, 16)
    assert users.clusters.tolist() == 5 * [[0, 0, 0, 1, 1, 1]]
    torch.testing.assert_close(users.behaviors.norm(dim=2), torch.full((5, 6), 2.5))
    torch.testing.assert_close(users.behaviors[:, 0], users.behaviors[:, 2])
    assert not torch.allclose(users.behaviors[:, 0], users.behaviors[:, 3])
    assert users.items.unique().numel() == 30
    assert users.items.min() == 1
    assert users.mask.all()


def test_shuffling_keeps_each_behaviour_with_its_cluster_and_item(users, generator):
    shuffled = users.shuffled(generator)
    assert not torch.equal(shuffled.clusters[0], shuffled.clusters[1])
    back = shuffled.items.argsort(1)
    again = shuffled.reordered(back)
    for before, after in zip(users, again, strict=True):
        assert torch.equal(before, after)


def test_random_logits_have_the_deviation_sigma(users, generator):
    logits = random_logits(users, 4, 3.0, generator)
    assert logits.shape == (40, 4, 21)
    assert logits.std().item() == pytest.approx(3, rel=0.05)


def test_routing_with_takes_the_map_and_the_changes():
    s = torch.arange(9.0).reshape(3, 3)
    module = routing_with(s, THREE, gradient="all")
    assert torch.equal(module.bilinear_map, s)
    assert module.config == RoutingConfig(max_interests=3, gradient="all")


def test_a_cluster_is_found_by_more_than_half_of_some_interests_weight():
    clusters = torch.tensor([0, 0, 1, 1]).expand(3, -1)
    weights = torch.tensor(
        [
            [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.2, 0.1]],  # both, however little the weight
            [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]],  # none: half is not more than half
            [[0.6, 0.0, 0.3, 0.0], [0.0, 0.0, 0.0, 0.0]],  # the first; an empty interest finds none
        ]
    )
    assert recovered_clusters(weights, clusters).tolist() == [
        [True, True],
        [False, False],
        [True, False],
    ]


def test_identical_interests_find_nothing(users):
    assert recovery(users, THREE, torch.zeros(40, 3, 21)).value == 0


def test_share_has_wilsons_interval():
    estimate = share(torch.tensor([True] * 30 + [False] * 70))
    z, n, p = 1.959964, 100, 0.3
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert estimate == pytest.approx((0.3, middle - reach, middle + reach), abs=1e-5)
    assert estimate.percent() == "30% (22% to 40%)"


def test_average_has_students_interval():
    estimate = average(torch.tensor([1.0, 2.0, 3.0]))
    reach = 4.302653 / math.sqrt(3)  # deviation 1, two degrees of freedom
    assert estimate == pytest.approx((2.0, 2 - reach, 2 + reach), abs=1e-5)
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.50 (0.25 to 0.75)"
    with pytest.raises(ValueError, match="1 draw: an interval needs at least two"):
        average(torch.ones(1))


def test_an_interval_covers_the_truth_about_95_times_in_a_hundred():
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(400):
        estimate = average(torch.randn(20, generator=generator))
        hits += estimate.low <= 0 <= estimate.high
    assert 0.92 <= hits / 400 <= 0.98


def test_best_match_ignores_order_and_length_and_inactive_interests():
    a = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [7.0, 7.0]]])
    b = torch.tensor([[[0.0, 5.0], [3.0, 0.0], [-1.0, 4.0]]])
    active = torch.tensor([[True, True, False]])
    torch.testing.assert_close(best_match(a, b, active), torch.ones(1))
    with_all = best_match(a, b, torch.ones(1, 3, dtype=torch.bool))
    assert with_all.item() < 1
    opposite = best_match(a[:, :1], -a[:, :1], active[:, :1])
    torch.testing.assert_close(opposite, -torch.ones(1))


def test_best_match_asks_both_sets():
    a = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    b = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    both = torch.ones(1, 2, dtype=torch.bool)
    assert best_match(a, b, both).item() == pytest.approx(0.75)
    assert best_match(b, a, both).item() == pytest.approx(0.75)


def test_recovery_grows_with_the_embeddings_and_from_the_floor():
    grid = recovery_by_scale(
        [0.2, 8.0], {"one": RoutingConfig(max_interests=3, iterations=1), "three": THREE},
        draws=150, seed=0,
    )  # fmt: skip
    assert grid.scales == [0.2, 8.0]
    assert grid.rows["three"][0].high < 0.1
    assert grid.rows["three"][1].low > 0.5
    assert grid.rows["one"][1].high < 0.1


def test_every_row_of_a_grid_sees_the_same_users_and_the_same_luck():
    grid = recovery_by_scale([4.0], {"a": THREE, "b": THREE}, draws=100, seed=1)
    assert grid.rows["a"] == grid.rows["b"]


def test_initial_logits_of_each_kind(users, generator):
    first, second = (initial_logits("redrawn", users.items, THREE, generator) for _ in "12")
    assert not torch.equal(first, second)
    fixed = initial_logits("by position", users.items, THREE, generator)
    assert torch.equal(fixed, initial_logits("by position", users.items, THREE, generator))
    assert torch.equal(fixed[0], fixed[1])
    by_item = initial_logits("by item", users.items, THREE, generator)
    flipped = initial_logits("by item", users.items.flip(1), THREE, generator)
    assert torch.equal(flipped.flip(2), by_item)
    assert first.shape == fixed.shape == by_item.shape == (40, 3, 21)
    with pytest.raises(ValueError, match="kind='other': expected 'redrawn'"):
        initial_logits("other", users.items, THREE, generator)


@pytest.mark.parametrize(
    ("kind", "same"),
    [("redrawn", ()), ("by position", ("same history",)), ("by item", "all")],
)
def test_reproducibility_of_each_kind(users, kind, same):
    values = reproducibility(kind, users, THREE, seed=0)
    assert list(values) == ["same history", "other order", "one step later"]
    for name, estimate in values.items():
        if same == "all" or name in same:
            assert estimate.value == pytest.approx(1, abs=1e-5)
        else:
            assert estimate.high < 0.999


@pytest.mark.parametrize("kind", ["redrawn", "by position", "by item"])
def test_the_way_to_start_does_not_change_recovery(kind, generator):
    users = planted_users(400, generator=generator)
    rate = recovery_from(kind, users, THREE, generator)
    other = recovery(users, THREE, random_logits(users, 3, 1.0, generator))
    assert abs(rate.value - other.value) < 0.12


@pytest.mark.parametrize("softmax_over", ["interests", "behaviors"])
@pytest.mark.parametrize("mask_first", [True, False])
def test_without_padding_the_order_of_mask_and_softmax_is_nothing(
    users, softmax_over, mask_first, generator
):
    logits = random_logits(users, 3, 1.0, generator)
    interests, weights = route_padded(
        users, logits, 0, softmax_over=softmax_over, mask_first=mask_first
    )
    config = RoutingConfig(max_interests=3, softmax_over=softmax_over)
    expected = route_users(users, config, logits)
    torch.testing.assert_close(interests, expected.vectors)
    torch.testing.assert_close(weights, expected.coupling)


def test_only_the_mask_after_a_softmax_over_behaviours_shrinks_interests(generator):
    users = planted_users(40, scale=1.0, generator=generator)
    logits = random_logits(users, 3, 1.0, generator)
    for softmax_over in ("interests", "behaviors"):
        for mask_first in (True, False):
            bare, padded = (
                route_padded(users, logits, n, softmax_over=softmax_over, mask_first=mask_first)[0]
                for n in (0, 60)
            )
            if softmax_over == "behaviors" and not mask_first:
                assert padded.norm(dim=2).mean() < 0.9 * bare.norm(dim=2).mean()
            else:
                torch.testing.assert_close(padded, bare)


def test_saving_by_hand():
    lengths = torch.tensor([2, 16])  # K' is 1 and 4
    result = saving(lengths, 4)
    assert num_interests(lengths, 4).tolist() == [1, 4]
    assert result.mean == 2.5
    assert result.searches == pytest.approx(1 - 5 / 8)
    assert result.routing == pytest.approx(1 - (1 * 2 + 4 * 16) / (4 * 18))


def test_gradients_agree_after_one_round_and_differ_after_three(generator):
    few = planted_users(6, generator=generator)
    logits = random_logits(few, 3, 1.0, generator)
    one = RoutingConfig(max_interests=3, iterations=1)
    cosines = gradient_cosines(few, one, logits, generator=generator)
    torch.testing.assert_close(cosines, torch.ones(6))
    three = gradient_cosines(few, THREE, logits, generator=generator)
    assert (three < 1 - 1e-4).any()
    assert (three.abs() <= 1 + 1e-5).all()


def test_diagnosis_of_interest_collapse_and_of_routing_collapse():
    tiny = diagnose(THREE, scale=0.01, draws=50, seed=0)
    assert tiny.cosine.value > 0.9
    assert tiny.entropy.value > 0.9
    sharp = diagnose(
        RoutingConfig(max_interests=3, softmax_over="behaviors"), scale=40.0, draws=50, seed=0
    )
    assert sharp.entropy.value < 0.3
    assert sharp.capsules.coupling.shape == (50, 3, 21)


def test_a_reading_is_trained_with_every_seed_and_judged_user_by_user():
    world = planted_interests(
        PlantedConfig(num_users=60, num_clusters=6, items_per_cluster=8, num_segments=3), seed=0
    )
    split = leave_last_out(world.log)
    config = MINDConfig(dim=8, hidden=(12,), history_length=20)
    training = TrainingConfig(epochs=2, batch_size=64, negatives=32, monitor="Recall@10")
    result = train_reading(world, split, config, training, seeds=2)
    assert result.hits.shape == result.found.shape == (len(split.test),)
    assert len(result.by_seed) == len(result.epochs) == len(result.models) == 2
    hits, found = torch.tensor(result.by_seed, dtype=torch.float64).mean(0)
    assert result.hits.mean().item() == pytest.approx(float(hits))
    assert result.found.mean().item() == pytest.approx(float(found))
    first, second = (model.item_vectors() for model in result.models)
    assert not torch.equal(first, second)
    again = train_reading(world, split, config, training, seeds=1)
    assert again.by_seed[0] == result.by_seed[0]
    assert result.seconds > 0
