"""The museum at work: which harm shows in which numbers."""

import pytest
import torch

from mindlib.lessons.n02_b2i.routing_harms import gallery, harms, lost_weight
from mindlib.lessons.n02_b2i.routing_museum import MUSEUM
from mindlib.lessons.n02_b2i.routing_trials import planted_users


@pytest.fixture
def users(generator):
    return planted_users(120, generator=generator).shuffled(generator)


def test_the_gallery_shows_mindlib_and_every_exhibit(users):
    shown = gallery(users, padding=9, size=40)
    assert list(shown) == ["mindlib's own", *(exhibit.name for exhibit in MUSEUM)]
    own = shown["mindlib's own"]
    assert own.alike.value == pytest.approx(1, abs=1e-5)
    assert own.coupling.shape == (3, 30)
    torch.testing.assert_close(own.coupling[:, :21].sum(0), torch.ones(21))
    assert own.coupling[:, 21:].abs().max() == 0
    assert shown["padding gets 1/K"].coupling[:, 21:].min() == pytest.approx(1 / 3)
    assert shown["zero logits"].found.value == 0
    after = shown["softmax over behaviours, mask after"]
    assert after.length < own.length
    assert after.found.high < own.found.low


def test_the_last_users_picture_is_sorted_by_kind(users):
    coupling = gallery(users, padding=2, size=40)["mindlib's own"].coupling
    order = users.clusters[-1].argsort(stable=True)
    again = gallery(users.reordered(order.expand(120, -1)), padding=2, size=40)
    torch.testing.assert_close(again["mindlib's own"].coupling, coupling, atol=1e-4, rtol=0)


def test_calls_that_ought_to_agree_do_not(users, generator):
    shown = harms(users, generator)
    names = {harm.exhibit for harm in shown}
    assert names < {exhibit.name for exhibit in MUSEUM}
    assert len(shown) == len(names) == 4
    assert all(0 < harm.alike.high < 0.999 for harm in shown)


def test_the_unused_interest_takes_a_third_at_first_and_less_later(generator):
    users = planted_users(120, scale=1.0, generator=generator).shuffled(generator)
    first = lost_weight(users, behaviors=5, iterations=1)
    assert first.low < 1 / 3 < first.high
    assert lost_weight(users, behaviors=5, iterations=3).high < first.low
