"""The bug museum: every exhibit is killed by the property that names it, and mindlib by none.

(test_mutants.py breaks the sources and watches the test suite; here the mistakes are exhibits that
notebook 02 shows, and the checks are those that the reader sees.)
"""

import pytest
import torch

from mindlib.layers import routing
from mindlib.layers.initial_logits import gaussian_logits
from mindlib.layers.routing import Capsules, RoutingConfig, squash
from mindlib.lessons.n02_b2i.routing_museum import (
    MUSEUM,
    Routing,
    accumulate,
    masked_after_behaviors,
    padding_shares,
    unused_interests_share,
)
from mindlib.lessons.n02_b2i.routing_properties import (
    BATCH,
    DIFFER,
    ORDER,
    PADDING,
    PROPERTIES,
    STATE,
    SUM,
    in_batches,
    violations,
)
from mindlib.lessons.n02_b2i.routing_trials import routing_with

EXHIBITS = {exhibit.name: exhibit for exhibit in MUSEUM}
KILLERS = {
    "softmax over behaviours, mask after": PADDING,
    "logits kept between calls": STATE,
    "logits summed over the batch": BATCH,
    "zero logits": DIFFER,
    "padding gets 1/K": SUM,
    "logits fixed by position": ORDER,
    "unused interests share": SUM,
}


def module_as_function(config, dim=6):
    module = routing_with(torch.eye(dim), config)

    def function(items, behaviors, mask):
        with torch.no_grad():
            logits = gaussian_logits(items, config.max_interests, sigma=config.sigma, seed=0)
            return module(behaviors, mask, logits)

    return function


def draw(lengths=(9, 4, 2), length=9, dim=6):
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(length) < torch.tensor(lengths)[:, None]
    items = torch.randint(1, 99, mask.shape, generator=generator) * mask
    return items, torch.randn(*mask.shape, dim, generator=generator), mask


def test_mindlibs_own_routing_has_every_property():
    assert violations(module_as_function(RoutingConfig.paper(max_interests=3))) == []


def test_the_parts_put_together_have_every_property():
    assert violations(Routing()) == []


def test_the_parts_put_together_are_mindlibs_own_routing():
    request = draw()
    for iterations in (1, 3):
        config = RoutingConfig.paper(max_interests=3, iterations=iterations)
        ours, theirs = (
            Routing(iterations=iterations)(*request),
            module_as_function(config)(*request),
        )
        torch.testing.assert_close(ours.vectors, theirs.vectors)
        torch.testing.assert_close(ours.coupling, theirs.coupling)
        assert torch.equal(ours.active, theirs.active)


@pytest.mark.parametrize("name", EXHIBITS)
def test_the_exhibit_is_killed_by_the_property_that_names_it(name):
    exhibit = EXHIBITS[name]
    assert KILLERS[name] == exhibit.violates[0]
    assert not PROPERTIES[KILLERS[name]](exhibit.make())


@pytest.mark.parametrize("name", EXHIBITS)
def test_the_exhibit_lacks_these_properties_and_no_others(name):
    exhibit = EXHIBITS[name]
    assert set(violations(exhibit.make())) == set(exhibit.violates)


def test_every_property_kills_something():
    assert {name for exhibit in MUSEUM for name in exhibit.violates} == set(PROPERTIES)
    assert set(KILLERS) == set(EXHIBITS)


@pytest.mark.parametrize("name", EXHIBITS)
def test_an_exhibit_differs_from_mindlib_in_one_part(name):
    own, mutant = Routing(), EXHIBITS[name].make()
    assert sum(vars(own)[key] != vars(mutant)[key] for key in vars(own)) == 1


@pytest.mark.parametrize("name", EXHIBITS)
def test_making_an_exhibit_again_forgets_everything(name):
    request = draw()
    first = EXHIBITS[name].make()(*request).vectors
    torch.testing.assert_close(EXHIBITS[name].make()(*request).vectors, first)


def test_the_other_axis_with_the_mask_first_only_breaks_the_sum():
    """The reading that mindlib has as an option is no bug: it has all the other properties."""
    config = RoutingConfig.paper(max_interests=3, softmax_over="behaviors")
    assert violations(module_as_function(config)) == [SUM]


def test_violations_do_not_leave_a_trace():
    function = EXHIBITS["logits kept between calls"].make()
    violations(function)
    assert function.memory is None


def test_weights_masked_after_a_softmax_over_behaviours_are_lost():
    logits, absent = torch.zeros(1, 2, 10), torch.arange(10).expand(1, 2, 10) >= 4
    weights = masked_after_behaviors(logits, absent, "interests")
    torch.testing.assert_close(weights.sum(2), torch.full((1, 2), 0.4))


def test_padding_gets_an_equal_share_of_the_interests_that_the_user_has():
    active, mask = torch.tensor([[True, True, False]]), torch.tensor([[True, False]])
    absent = ~(active[:, :, None] & mask[:, None])
    weights = padding_shares(torch.randn(1, 3, 2), absent, "interests")
    torch.testing.assert_close(weights[0, :, 1], torch.tensor([0.5, 0.5, 0.0]))
    torch.testing.assert_close(weights[0, :, 0].sum(), torch.tensor(1.0))


def test_unused_interests_take_their_share_with_them():
    absent = torch.tensor([[[False], [True], [True]]])
    # The column counts as a behaviour, for one interest is there.
    weights = unused_interests_share(torch.zeros(1, 3, 1), absent, "interests")
    torch.testing.assert_close(weights[0, :, 0], torch.tensor([1 / 3, 0.0, 0.0]))


def test_accumulation_is_a_sum():
    assert accumulate(torch.ones(1, 1, 2), torch.full((1, 1, 2), 2.0)).tolist() == [[[3.0, 3.0]]]


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_in_batches_is_one_call_for_a_routing_without_state(size):
    request = draw()
    torch.testing.assert_close(
        in_batches(Routing(), *request, size=size).vectors, Routing()(*request).vectors
    )


def breaks(name):
    """A routing that lacks one property, written for the check and not taken from the museum."""
    right, calls = Routing(), []

    def function(items, behaviors, mask):
        result = right(items, behaviors, mask)
        vectors, weights = result.vectors, result.coupling
        if name == PADDING:
            vectors = vectors * mask.shape[1]
        elif name == BATCH:
            vectors = vectors - vectors.mean(0)
        elif name == STATE:
            calls.append(name)
            vectors = vectors * len(calls)
        elif name == DIFFER:
            vectors = vectors[:, :1].expand_as(vectors)
        elif name == SUM:
            weights = 0.9 * weights
        elif name == ORDER:
            vectors = squash(vectors + behaviors[:, :1])
        return Capsules(vectors, result.active, weights, result.logits)

    return function


@pytest.mark.parametrize("name", PROPERTIES)
def test_each_check_sees_what_it_is_named_after(name):
    assert name in violations(breaks(name))


def test_the_museum_uses_mindlibs_own_signatures():
    """A part can be handed to mindlib's place: same arguments, same shapes."""
    items, _, mask = draw()
    absent = ~mask[:, None].expand(-1, 3, -1)
    for exhibit in MUSEUM:
        part = exhibit.make()
        own = gaussian_logits(items, 3, sigma=1.0, seed=0)
        logits = part.initial_logits(items, 3, sigma=1.0, seed=0)
        assert logits.shape == own.shape
        shape = routing.compute_coupling(own, absent, "interests").shape
        assert part.coupling(own, absent, "interests").shape == shape
        assert part.update(own, own).shape == own.shape
