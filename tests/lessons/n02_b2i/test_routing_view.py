"""The user under the reader's hand is the same at every setting."""

from dataclasses import replace

import torch

from mindlib.lessons.n02_b2i.routing_view import AS_IT_STANDS, TRIES, view


def test_the_same_user_and_the_same_luck_at_every_setting():
    usual = view(AS_IT_STANDS, scale=4.0, seed=0)
    again = view(AS_IT_STANDS, scale=4.0, seed=0)
    assert torch.equal(usual.coupling, again.coupling)
    one, one_of_five = (
        view(replace(AS_IT_STANDS, iterations=1, max_interests=n), scale=4.0, seed=0).coupling
        for n in (3, 5)
    )
    odds = one[0] / one[1]
    torch.testing.assert_close(one_of_five[0] / one_of_five[1], odds, msg="the first draws stay")


def test_a_view_holds_what_the_picture_shows():
    usual = view(AS_IT_STANDS, scale=4.0, seed=1)
    assert usual.coupling.shape == (3, 21)
    torch.testing.assert_close(usual.coupling.sum(0), torch.ones(21))
    torch.testing.assert_close(usual.cosine.diagonal(), torch.ones(3))
    assert usual.clusters.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert 0 <= usual.found <= 3


def test_equal_rows_find_nothing_and_every_try_has_its_own_number_of_rows():
    views = {name: view(config, scale=scale, seed=0) for name, (scale, config) in TRIES.items()}
    assert views["σ = 0: equal rows"].found == 0
    assert views["σ = 0: equal rows"].cosine.min().item() > 1 - 1e-5
    for name, (_, config) in TRIES.items():
        assert len(views[name].coupling) == config.max_interests
