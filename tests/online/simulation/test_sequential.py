"""Peeking finds what is not there; bounds computed by simulation agree with the published ones."""

import numpy as np
import pytest

from mindlib.online.simulation.analysis import Shape, stopping_bounds

# Jennison and Turnbull (2000), Tables 2.1 and 2.3, alpha = 0.05, equal steps: the constant.
PUBLISHED: dict[tuple[Shape, int], float] = {
    ("pocock", 2): 2.178,
    ("pocock", 5): 2.413,
    ("pocock", 10): 2.555,
    ("obrien-fleming", 2): 1.977,
    ("obrien-fleming", 5): 2.040,
    ("obrien-fleming", 10): 2.087,
}


def evenly(looks: int) -> list[float]:
    return [(n + 1) / looks for n in range(looks)]


def stopped_share(information: list[float], bounds: np.ndarray | float, seed: int) -> float:
    """The share of tests without a difference that are stopped, with data that arrive step by step.

    A look sees the mean of the data until then, whose variance falls as 1 / information.
    """
    t = np.array(information)
    data = rng(seed).standard_normal((100_000, len(t))) * np.sqrt(np.diff(t, prepend=0))
    means = data.cumsum(1) / t
    return float((np.abs(means * np.sqrt(t)) > bounds).any(1).mean())


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("shape", "looks"), PUBLISHED)
def test_bounds_are_the_published_ones(shape: Shape, looks: int):
    found = stopping_bounds(evenly(looks), shape, generator=rng())
    constant = PUBLISHED[shape, looks]
    falling = np.sqrt(looks / np.arange(1, looks + 1)) if shape == "obrien-fleming" else 1
    np.testing.assert_allclose(found, constant * np.ones(looks) * falling, rtol=0.008)


def test_looks_at_the_level_of_one_look_add_up():
    assert stopped_share(evenly(10), 1.96, 1) == pytest.approx(0.193, abs=0.004)  # Table 2.3


@pytest.mark.parametrize("shape", ["pocock", "obrien-fleming"])
def test_the_level_is_kept_at_uneven_looks(shape: Shape):
    uneven = [0.05, 0.3, 0.35, 0.9, 1.0]
    bound = stopping_bounds(uneven, shape, generator=rng(2))
    assert stopped_share(uneven, bound, 3) == pytest.approx(0.05, abs=0.004)


def test_obrien_and_fleming_ask_much_of_the_first_day_and_little_more_of_the_last():
    falling = stopping_bounds(evenly(7), "obrien-fleming", generator=rng())
    flat = stopping_bounds(evenly(7), "pocock", generator=rng())
    assert falling[0] > 5
    assert 1.96 < falling[-1] < 2.1 < flat[-1]
    assert (np.diff(falling) < 0).all()
    np.testing.assert_allclose(flat, flat[0])


def test_another_level_has_other_bounds():
    strict, lax = (
        stopping_bounds(evenly(3), "pocock", alpha=alpha, generator=rng()) for alpha in (0.01, 0.1)
    )
    assert strict[0] == pytest.approx(2.873, rel=0.01)  # Table 2.1, alpha = 0.01
    assert lax[0] < strict[0] - 0.5


@pytest.mark.parametrize("fractions", [[], [0.5, 0.5, 1.0], [0.0, 1.0], [0.5, 0.9]])
def test_impossible_looks_are_refused(fractions):
    with pytest.raises(ValueError, match="expected fractions rising to 1"):
        stopping_bounds(fractions, "pocock", generator=rng())


def test_impossible_bounds_are_refused():
    with pytest.raises(ValueError, match="alpha=1"):
        stopping_bounds([1.0], "pocock", alpha=1.0, generator=rng())
