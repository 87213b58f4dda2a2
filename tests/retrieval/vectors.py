"""Vectors to search among and to search with."""

from typing import NamedTuple

import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data import Histories
from mindlib.retrieval import (
    Recommendations,
    exact,
    int8,
    score_by_best_interest,
    top_items,
)
from mindlib.retrieval.faiss import FaissIndex


class Problem(NamedTuple):
    items: Float[Tensor, "items dim"]
    ids: Int[Tensor, " items"]
    interests: Float[Tensor, "users interests dim"]
    active: Bool[Tensor, "users interests"]
    histories: Histories


def problem(seed: int, *, ties: bool, num_items: int = 40, users: int = 5) -> Problem:
    """Few items under ids with gaps, users with 0 to 4 interests and pasts from empty to long."""
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn(num_items, 6, generator=generator)
    interests = torch.randn(users, 4, 6, generator=generator)
    if ties:
        items, interests = items.round(), interests.round()
    ids = 1 + torch.randperm(3 * num_items, generator=generator)[:num_items]
    active = torch.rand(users, 4, generator=generator) < 0.6
    # What is in an inactive interest must not matter, be it a number or not.
    interests[~active] = torch.nan
    lengths = torch.randint(0, num_items, (users,), generator=generator).tolist()
    pasts = [torch.randint(1, 3 * num_items, (n,), generator=generator).tolist() for n in lengths]
    return Problem(items, ids, interests, active, Histories.from_lists(pasts))


def use_int8(patch: pytest.MonkeyPatch) -> None:
    """Score in int8 on every processor, however fast it is there."""
    if not int8.has_exact_int8():
        patch.setattr(int8, "multiply", multiply_slowly)
    patch.setattr(exact, "has_fast_int8", lambda: True)


def multiply_slowly(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    return out.copy_(left.int() @ right.int())


def brute_force(p: Problem, n: int, *, exclude_history: bool) -> Recommendations:
    """Every item scored by every user's best interest; ids that the catalogue lacks score -inf."""
    width = 1 + max(int(p.ids.max()), int(p.histories.items.max()))

    def score(part: Histories) -> Float[Tensor, "users items"]:
        rows = part.users - 1
        has_one = p.active[rows].any(1)
        # score_by_best_interest needs the first interest to be active, as the models' always is.
        first = p.active[rows].long().argmax(1)
        vectors = p.interests[rows].nan_to_num(0.0)
        active = p.active[rows].clone()
        vectors[:, 0] = vectors[torch.arange(len(rows)), first]
        active[:, 0] = True
        scores = torch.full((len(rows), width), -torch.inf)
        scores[:, p.ids] = score_by_best_interest(vectors, active, p.items)
        return scores.masked_fill(~has_one[:, None], -torch.inf)

    return top_items(score, p.histories, n, width - 1, exclude_history=exclude_history)


def assert_same_lists(found: Recommendations, expected: Recommendations, p: Problem) -> None:
    """Equal scores place by place, each item with its own score: items may differ in ties only."""
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-4, rtol=1e-4)
    for user in range(len(found.items)):
        there = found.scores[user] > -torch.inf
        items = found.items[user][there]
        assert (found.items[user][~there] == 0).all()
        assert len(items.unique()) == len(items)
        if not len(items):
            continue
        places = (items[:, None] == p.ids).long().argmax(1)
        assert torch.equal(p.ids[places], items)
        inner = p.items[places] @ p.interests[user][p.active[user]].T
        torch.testing.assert_close(inner.amax(1), found.scores[user][there], atol=1e-4, rtol=1e-4)


def clustered(
    num_items: int, dim: int, clusters: int, seed: int, users: int = 40, interests: int = 3
) -> Problem:
    """Items about centres, and interests that each point to the neighbourhood of one."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(clusters, dim, generator=generator), dim=1)
    of_item = torch.randint(clusters, (num_items,), generator=generator)
    items = centres[of_item] + 0.5 * dim**-0.5 * torch.randn(num_items, dim, generator=generator)
    liked = torch.randint(clusters, (users, interests), generator=generator)
    noise = 0.5 * dim**-0.5 * torch.randn(users, interests, dim, generator=generator)
    return Problem(
        items,
        torch.arange(1, num_items + 1),
        centres[liked] + noise,
        torch.ones(users, interests, dtype=torch.bool),
        Histories.from_lists([[] for _ in range(users)]),
    )


class Counting(FaissIndex):
    """A flat index, which is exact, that counts the vectors that reach it."""

    def __init__(self, items: Float[Tensor, "items dim"], ids: Int[Tensor, " items"]) -> None:
        flat = FaissIndex.build(items, ids)
        super().__init__(**vars(flat))
        self.calls: list[int] = []
        self.queries: list[Tensor] = []

    def nearest(
        self, queries: Float[Tensor, "queries dim"], n: int, owners: Int[Tensor, " queries"]
    ) -> Recommendations:
        self.calls.append(len(queries))
        self.queries.append(queries)
        return super().nearest(queries, n, owners)
