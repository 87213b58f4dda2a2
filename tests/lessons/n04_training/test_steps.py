"""Adam by rows beside dense Adam, of which torch's own is the oracle."""

import numpy as np

from mindlib.lessons.n04_training.steps import paths


def test_a_row_that_is_always_touched_takes_the_same_path():
    by_rows, dense = paths(np.ones((30, 2)))
    np.testing.assert_allclose(by_rows, dense, atol=1e-6)
    assert by_rows[-1].max() < -1


def test_a_row_without_a_gradient_rests_by_rows_and_moves_in_dense_adam():
    touched = np.zeros((20, 1))
    touched[:3] = 1
    by_rows, dense = paths(touched)
    assert np.ptp(by_rows[3:]) == 0
    assert np.all(np.diff(dense[3:, 0]) < 0)
    assert by_rows[0, 0] == dense[0, 0] == 0
