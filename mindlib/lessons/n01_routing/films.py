"""Films of the example user in a plane."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data import Interactions, Split
from mindlib.lessons.common.films import TASTES, example_case, genre_matrix


def films_in_plane(
    split: Split,
) -> tuple[Int[np.ndarray, " films"], Float[Tensor, "films 2"], list[int]]:
    """Return films of the example user, their places, and the position of one film of each taste.

    The films are sorted by their first coordinate.
    """
    films, firsts = films_by_taste(split)
    plane = film_plane(split.log, films)
    order = plane[:, 0].argsort()
    return films[order.numpy()], plane[order], [int(order.argsort()[first]) for first in firsts]


def films_by_taste(split: Split) -> tuple[Int[np.ndarray, " films"], list[int]]:
    """Return films of the example user, and the position of the first film of each taste.

    They are the first four films of each taste, and after these the films of several tastes.
    """
    history = split.test.histories.select(torch.tensor([example_case(split)])).window(50)
    items = history.items[history.mask].numpy()
    has, names = genre_matrix(split.log)
    chosen = has[items][:, [names.index(taste) for taste in TASTES]]
    is_pure = chosen & (chosen.sum(1, keepdims=True) == 1)
    parts = [items[column][:4] for column in is_pure.T]
    firsts = np.cumsum([0, *map(len, parts)])[:-1].tolist()
    return np.concatenate([*parts, items[chosen.sum(1) > 1]]), firsts


def film_plane(log: Interactions, films: Int[np.ndarray, " films"]) -> Float[Tensor, "films 2"]:
    """Place films in a plane such that films with a common audience point the same way.

    The coordinates are the second and the first singular vector of the films' audiences (the
    normalized 0/1 columns of the user-film matrix), scaled to a root mean square of 1.
    """
    watched = np.zeros((log.num_users + 1, len(films)))
    event, column = np.nonzero(log.items[:, None] == films)
    watched[log.users[event], column] = 1
    audience = watched / np.linalg.norm(watched, axis=0)
    _, vectors = np.linalg.eigh(audience.T @ audience)
    plane = vectors[:, -2:] * len(films) ** 0.5
    plane *= np.sign(plane[0])  # the sign of an eigenvector is arbitrary
    return torch.from_numpy(plane).float()
