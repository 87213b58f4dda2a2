"""How routing starts: what a draw costs, and the three ways to get the same interests again."""

import pytest
import torch

from mindlib.layers.routing import B2IRouting, RoutingConfig
from mindlib.lessons.n02_b2i.routing_starts import (
    draw_study,
    initial_logits,
    knowledge,
    own_logits,
    second_request,
    with_strays,
)
from mindlib.lessons.n02_b2i.routing_trials import planted_users, random_logits, recovery

THREE = RoutingConfig.paper(max_interests=3)


@pytest.fixture
def users(generator):
    return planted_users(40, generator=generator)


def test_without_a_draw_two_draws_are_alike_and_nothing_is_found(users, generator):
    result = draw_study(users, RoutingConfig.paper(max_interests=3, sigma=0.0), generator)
    assert result.found.value == 0
    assert result.alike.value == pytest.approx(1, abs=1e-5)
    assert result.mean_alike.value == pytest.approx(1, abs=1e-5), "all interests are the mean"


def test_one_round_leaves_every_behaviour_where_the_draw_put_it(users, generator):
    one = draw_study(
        users, RoutingConfig.paper(max_interests=3, iterations=2, sigma=50.0), generator
    )
    assert one.unmoved.value > 0.95
    three = draw_study(users, THREE, generator)
    assert 1 / 3 < three.unmoved.value < 0.9


@pytest.mark.parametrize("iterations", [2, 3, 10])
def test_no_logit_moves_beyond_the_bound(users, iterations, generator):
    config = RoutingConfig.paper(max_interests=3, iterations=iterations)
    assert 0.5 < draw_study(users, config, generator).reach < 1


def test_another_draw_is_more_alike_than_the_mean(generator):
    users = planted_users(200, generator=generator)
    result = draw_study(users, THREE, generator)
    assert result.mean_alike.high < result.alike.low < result.alike.high < 1


def test_initial_logits_of_each_kind(users, generator):
    first, second = (initial_logits("redrawn", users.items, THREE, 1, generator) for _ in "12")
    assert not torch.equal(first, second)
    fixed = initial_logits("by position", users.items, THREE, 1, generator)
    assert torch.equal(fixed, initial_logits("by position", users.items, THREE, 1, generator))
    assert torch.equal(fixed[0], fixed[1])
    assert not torch.equal(fixed, initial_logits("by position", users.items, THREE, 2, generator))
    by_item = initial_logits("by item", users.items, THREE, 1, generator)
    flipped = initial_logits("by item", users.items.flip(1), THREE, 1, generator)
    assert torch.equal(flipped.flip(2), by_item)
    assert not torch.equal(by_item, initial_logits("by item", users.items, THREE, 2, generator))
    assert first.shape == fixed.shape == by_item.shape == (40, 3, 21)
    with pytest.raises(ValueError, match="kind='other': expected 'redrawn'"):
        initial_logits("other", users.items, THREE, 1, generator)


@pytest.mark.parametrize(
    ("kind", "same"),
    [("redrawn", ()), ("by position", ("same",)), ("by item", ("same", "order"))],
)
def test_what_stays_at_a_second_request(users, kind, same):
    result = second_request(kind, users, THREE, seeds=2)
    for name in ("same", "order", "step"):
        if name in same:
            assert getattr(result, name).value == pytest.approx(1, abs=1e-5)
        else:
            assert getattr(result, name).high < 0.999
    assert len(result.by_seed) == 2
    assert result.found.value == pytest.approx(sum(result.by_seed) / 2)


@pytest.mark.parametrize("kind", ["redrawn", "by position", "by item"])
def test_the_way_to_start_does_not_change_recovery(kind, generator):
    users = planted_users(400, generator=generator)
    rate = second_request(kind, users, THREE, seeds=2).found
    other = recovery(users, THREE, random_logits(users, 3, 1.0, generator))
    assert abs(rate.value - other.value) < 0.12


def test_the_start_of_a_configuration_is_the_one_that_routing_takes_by_itself(users, generator):
    config = RoutingConfig(max_interests=3)
    start = own_logits(users, config, generator)
    routing = B2IRouting(16, config, generator=generator)
    with torch.no_grad():
        given, alone = (routing(users.behaviors, users.mask, *x) for x in ((start,), ()))
    torch.testing.assert_close(given.coupling, alone.coupling)
    noise = own_logits(users, RoutingConfig.paper(max_interests=3, sigma=2.0), generator)
    assert noise.std().item() == pytest.approx(2, rel=0.1)


def test_strays_are_as_long_as_the_others_and_of_no_kind(users, generator):
    more = with_strays(users, 3, generator)
    assert torch.equal(more.behaviors[:, :21], users.behaviors)
    torch.testing.assert_close(more.behaviors.norm(dim=2), torch.full((40, 24), 4.0))
    assert more.clusters[:, 21:].unique().tolist() == [3]
    assert more.items.unique().numel() == more.items.numel()
    assert with_strays(users, 0, generator).items.equal(users.items)


def test_knowing_finds_every_kind_unless_strays_take_the_seats(generator):
    users = planted_users(200, generator=generator)
    known, strayed = (
        knowledge(users, RoutingConfig(max_interests=3), generator, strays=n) for n in (0, 3)
    )
    assert known.found.value == pytest.approx(1, abs=0.02)
    assert known.step.low > 0.98
    assert strayed.found.high < 0.85
    assert knowledge(users, THREE, generator).found.high < 0.8
