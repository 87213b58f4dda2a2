"""Adam by rows beside dense Adam: torch's own is the oracle, and the times grow as they must."""

import numpy as np
import pytest
import torch

from mindlib.lessons.n04_training.steps import paths, same, step_cost


def test_a_row_that_is_always_touched_goes_the_same_way():
    found = paths(np.ones((30, 2)))
    np.testing.assert_allclose(found.by_rows, found.dense, atol=1e-6)
    assert found.by_rows[-1].max() < -1


def test_a_row_that_is_left_out_rests_by_rows_and_moves_in_dense_adam():
    touched = np.zeros((20, 1))
    touched[:3] = 1
    found = paths(touched)
    assert np.ptp(found.by_rows[3:]) == 0
    assert np.all(np.diff(found.dense[3:, 0]) < 0)
    assert found.by_rows[0, 0] == found.dense[0, 0] == 0


def test_dense_adam_pays_for_the_table():
    costs = [step_cost(rows, touched=32, dim=32, steps=15) for rows in (1_000, 300_000)]
    assert costs[1].dense / costs[0].dense > 2 * costs[1].by_rows / costs[0].by_rows
    assert costs[1].gigabytes == pytest.approx(3 * 300_000 * 32 * 4e-9)
    assert costs[1].gradient == pytest.approx(300_000 * 32 * 4e-9)


def test_same_means_every_bit():
    a = torch.tensor([0.0, 1.0, float("nan")])
    assert same(a, a.clone())
    assert not same(a, torch.tensor([-0.0, 1.0, float("nan")]))
    assert not same(a, a[:2])
