"""How many interests, where the masks go, which way the gradient takes, and the two diseases."""

import pytest
import torch

from mindlib.layers.routing import RoutingConfig, num_interests
from mindlib.lessons.n02_b2i.routing_readings import (
    crowd,
    diagnose,
    gradient_cosines,
    route_masked,
    saving,
)
from mindlib.lessons.n02_b2i.routing_trials import planted_users, random_logits, route_users

THREE = RoutingConfig.paper(max_interests=3)


@pytest.fixture
def users(generator):
    return planted_users(40, scale=1.0, generator=generator)


def test_one_behaviour_makes_four_twins_and_is_divided_among_them(users):
    all_four = RoutingConfig.paper(max_interests=4, adaptive=False)
    result = crowd(users, all_four, behaviors=1, seed=0)
    assert result.interests == 4
    assert result.twins.value == 1
    assert result.emptiest.value < 1 / 4


def test_eq_9_gives_one_behaviour_one_interest_that_has_all_of_it(users):
    result = crowd(users, RoutingConfig.paper(max_interests=4), behaviors=1, seed=0)
    assert result.interests == 1
    assert result.twins.value == 0
    assert result.emptiest.value == pytest.approx(1)


def test_the_emptiest_of_k_interests_has_at_most_the_kth_part(users):
    for behaviors in (2, 3, 8, 21):
        result = crowd(
            users, RoutingConfig.paper(max_interests=4, adaptive=False), behaviors=behaviors, seed=0
        )
        assert 0 < result.emptiest.value < behaviors / 4


def test_saving_by_hand():
    lengths = torch.tensor([2, 16])  # K' is 1 and 4
    result = saving(lengths, 4)
    assert num_interests(lengths, 4).tolist() == [1, 4]
    assert result.mean == 2.5
    assert result.searches == pytest.approx(1 - 5 / 8)
    assert result.routing == pytest.approx(1 - (1 * 2 + 4 * 16) / (4 * 18))


@pytest.mark.parametrize("softmax_over", ["interests", "behaviors"])
@pytest.mark.parametrize("mask_first", [True, False])
def test_where_nothing_is_absent_all_weight_arrives_and_routing_is_mindlibs(
    users, softmax_over, mask_first, generator
):
    logits = random_logits(users, 3, 1.0, generator)
    result = route_masked(
        users, logits, padding=0, unused=0, softmax_over=softmax_over, mask_first=mask_first
    )
    config = RoutingConfig.paper(max_interests=3, softmax_over=softmax_over)
    expected = route_users(users, config, logits).vectors.norm(dim=2).mean()
    assert result.length.value == pytest.approx(float(expected), abs=1e-5)
    assert result.arrives.value == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("softmax_over", ["interests", "behaviors"])
@pytest.mark.parametrize("mask_first", [True, False])
@pytest.mark.parametrize(("padding", "unused"), [(30, 0), (0, 1)])
def test_weight_is_lost_only_to_what_the_softmax_sums_over(
    users, softmax_over, mask_first, padding, unused, generator
):
    logits = random_logits(users, 3, 1.0, generator)
    result = route_masked(
        users, logits, padding=padding, unused=unused,
        softmax_over=softmax_over, mask_first=mask_first,
    )  # fmt: skip
    summed_over = padding if softmax_over == "behaviors" else unused
    if summed_over and not mask_first:
        assert result.arrives.high < 0.9
    else:
        assert result.arrives.value == pytest.approx(1, abs=1e-5)


def test_an_unused_interest_is_routed_as_if_it_were_not_there(users, generator):
    logits = random_logits(users, 3, 1.0, generator)
    options = {"padding": 5, "softmax_over": "interests", "mask_first": True}
    with_it = route_masked(users, logits, unused=1, **options)
    without = route_masked(users, logits[:, :2], unused=0, **options)
    assert with_it.length.value == pytest.approx(without.length.value, abs=1e-6)


def test_gradients_agree_after_one_round_and_differ_after_three(generator):
    few = planted_users(6, generator=generator)
    logits = random_logits(few, 3, 1.0, generator)
    one = RoutingConfig.paper(max_interests=3, iterations=1)
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
        RoutingConfig.paper(max_interests=3, softmax_over="behaviors"), scale=40.0, draws=50, seed=0
    )
    assert sharp.entropy.value < 0.3
    assert sharp.capsules.coupling.shape == (50, 3, 21)
