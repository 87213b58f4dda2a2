"""Peeking finds what is not there; bounds computed by simulation agree with the published ones."""

import numpy as np
import pytest

from mindlib.online.simulation.sequential import (
    Shape,
    null_scores,
    stopping_bounds,
)

# Jennison and Turnbull (2000), Tables 2.1 and 2.3, alpha = 0.05, equal steps: the constant.
PUBLISHED: dict[tuple[Shape, int], float] = {
    ("pocock", 2): 2.178,
    ("pocock", 5): 2.413,
    ("pocock", 10): 2.555,
    ("obrien-fleming", 2): 1.977,
    ("obrien-fleming", 5): 2.040,
    ("obrien-fleming", 10): 2.087,
}
# And Table 2.3's neighbour: how often looks at the level of a single one find something.
PEEKING = {1: 0.05, 2: 0.083, 5: 0.142, 10: 0.193}


def evenly(looks: int) -> list[float]:
    return [(n + 1) / looks for n in range(looks)]


def stopped_share(scores: np.ndarray, bounds: np.ndarray | float) -> np.ndarray:
    return np.logical_or.accumulate(np.abs(scores) > bounds, axis=1).mean(0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("shape", "looks"), PUBLISHED)
def test_bounds_are_the_published_ones(shape: Shape, looks: int):
    found = stopping_bounds(evenly(looks), shape, generator=rng())
    constant = PUBLISHED[shape, looks]
    falling = np.sqrt(looks / np.arange(1, looks + 1)) if shape == "obrien-fleming" else 1
    np.testing.assert_allclose(found, constant * np.ones(looks) * falling, rtol=0.008)


@pytest.mark.parametrize("looks", PEEKING)
def test_looks_at_the_level_of_one_look_add_up(looks):
    scores = null_scores(evenly(looks), generator=rng(1))
    stopped = stopped_share(scores, 1.96)
    assert stopped[-1] == pytest.approx(PEEKING[looks], abs=0.004)
    assert stopped[0] == pytest.approx(0.05, abs=0.004)
    assert (np.diff(stopped) > 0).all()


@pytest.mark.parametrize("shape", ["pocock", "obrien-fleming"])
def test_the_level_is_kept_at_uneven_looks(shape: Shape):
    uneven = [0.05, 0.3, 0.35, 0.9, 1.0]
    bound = stopping_bounds(uneven, shape, generator=rng(2))
    kept = stopped_share(null_scores(uneven, generator=rng(3)), bound)[-1]
    assert kept == pytest.approx(0.05, abs=0.004)


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


def test_scores_are_those_of_data_that_grow():
    t = [0.2, 0.5, 1.0]
    scores = null_scores(t, generator=rng())
    np.testing.assert_allclose(scores.std(0), 1, atol=0.01)
    expected = [[np.sqrt(min(a, b) / max(a, b)) for a in t] for b in t]
    np.testing.assert_allclose(np.corrcoef(scores.T), expected, atol=0.01)


@pytest.mark.parametrize("fractions", [[], [0.5, 0.5, 1.0], [0.0, 1.0], [0.5, 0.9]])
def test_impossible_looks_are_refused(fractions):
    with pytest.raises(ValueError, match="expected fractions rising to 1"):
        null_scores(fractions, draws=10, generator=rng())


def test_impossible_bounds_are_refused():
    with pytest.raises(ValueError, match="alpha=1"):
        stopping_bounds([1.0], "pocock", alpha=1.0, draws=10, generator=rng())
