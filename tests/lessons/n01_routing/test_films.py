"""Films that the same users watch point the same way."""

import numpy as np
import torch

from mindlib.data import Interactions
from mindlib.lessons.n01_routing.films import film_plane


def test_films_with_a_common_audience_point_the_same_way():
    watched = np.array([[1, 2], [1, 2], [1, 2], [3, 4], [3, 4], [2, 3]])
    users = np.repeat(np.arange(1, 7), 2)
    ids = np.array([None, *range(6)], dtype=object)
    log = Interactions(users, watched.ravel(), np.arange(12), ids, ids[:5])
    plane = film_plane(log, np.array([1, 2, 3, 4]))
    unit = torch.nn.functional.normalize(plane, dim=1)
    cosines = unit @ unit.T
    assert cosines[0, 1] > cosines[1, 2] > cosines[0, 3]
    torch.testing.assert_close(plane.square().mean(0), torch.ones(2))
