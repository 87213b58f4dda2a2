"""The readings of §3.3 that are taken when nobody asks for another."""

import torch

from mindlib.layers.routing import B2IRouting, RoutingConfig


def test_the_readings_are_the_documented_ones_unless_asked_otherwise():
    assert RoutingConfig.paper() == RoutingConfig(
        max_interests=4,
        iterations=3,
        initial_logits="gaussian",
        sigma=1.0,
        adaptive=True,
        agreement="dot",
        inverse_temperature=1.0,
        capsule="squash",
        identity_map=False,
        softmax_over="interests",
        gradient="last",
    )
    assert RoutingConfig() == RoutingConfig(
        max_interests=4,
        iterations=3,
        initial_logits="farthest",
        sigma=1.0,
        adaptive=True,
        agreement="cosine",
        inverse_temperature=4.0,
        capsule="mean",
        identity_map=True,
        softmax_over="interests",
        gradient="all",
    )


def test_no_gradient_reaches_the_logits_of_the_paper():
    """The coupling is a constant for the gradient: only the last weighted sum is derived."""
    generator = torch.Generator().manual_seed(0)
    routing = B2IRouting(5, RoutingConfig.paper(), generator=generator)
    behaviors = torch.randn(2, 8, 5, generator=generator, requires_grad=True)
    logits = torch.randn(2, 4, 8, generator=generator, requires_grad=True)
    capsules = routing(behaviors, torch.ones(2, 8, dtype=torch.bool), logits)
    assert not capsules.coupling.requires_grad
    capsules.vectors.sum().backward()
    assert logits.grad is None
    for learnt in (behaviors.grad, routing.bilinear_map.grad):
        assert learnt is not None
        assert learnt.abs().max() > 0
