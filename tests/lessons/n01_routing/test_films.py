"""Films that the same users watch point the same way."""

import numpy as np
import torch

from mindlib.data import Interactions, leave_last_out
from mindlib.lessons.n01_routing.films import film_plane, films_in_plane


def example_log():
    pairs = ([1, 2], [1, 2], [1, 2], [3, 4], [3, 4], [2, 3])
    watched = np.array([[*pair, 5] for pair in pairs])
    users = np.repeat(np.arange(1, 7), 3)
    ids = np.array([None, *range(6)], dtype=object)
    return Interactions(users, watched.ravel(), np.arange(18), ids, ids[:6])


def test_films_with_a_common_audience_point_the_same_way():
    plane = film_plane(example_log(), np.array([1, 2, 3, 4]))
    unit = torch.nn.functional.normalize(plane, dim=1)
    cosines = unit @ unit.T
    assert cosines[0, 1] > cosines[1, 2] > cosines[0, 3]
    torch.testing.assert_close(plane.square().mean(0), torch.ones(2))


def test_films_in_the_plane_are_sorted_and_the_film_of_each_taste_is_found_again(monkeypatch):
    log, chosen, firsts = example_log(), np.array([1, 2, 3, 4]), [0, 2]
    monkeypatch.setattr(
        "mindlib.lessons.n01_routing.films.films_by_taste", lambda split: (chosen, firsts)
    )
    films, plane, found = films_in_plane(leave_last_out(log))
    assert (plane[:, 0].diff() >= 0).all()
    assert films.tolist() != chosen.tolist()
    assert sorted(films) == sorted(chosen)
    assert films[found].tolist() == chosen[firsts].tolist()
    torch.testing.assert_close(plane[films.argsort()], film_plane(log, chosen))
