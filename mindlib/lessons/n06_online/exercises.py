"""The exercises of notebook 06: the hash, the place, lists in time, and the sample ratio."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.lessons.common.staged import Exercise
from mindlib.online.simulation.hashing import uniform

# Who sees which arm


def _assign(
    users: Int[Tensor, " users"], key: int, shares: Float[Tensor, " arms"]
) -> Int[Tensor, " users"]:
    return _cut(_luck(key, users), shares)


def _luck(key: int, users: Tensor) -> Tensor:
    return torch.from_numpy(uniform(key, users.numpy()))


def _cut(luck: Tensor, shares: Tensor) -> Tensor:
    return torch.bucketize(luck, shares.double().cumsum(0)[:-1], right=True)


def _unsalted(users: Tensor, key: int, shares: Tensor) -> Tensor:
    return _cut(_luck(0, users), shares)


def _in_turn(users: Tensor, key: int, shares: Tensor) -> Tensor:
    return users % len(shares)


def _equal_shares(users: Tensor, key: int, shares: Tensor) -> Tensor:
    return (_luck(key, users) * len(shares)).long()


def _places(users: Tensor, key: int, shares: Tensor) -> Tensor:
    return _cut(_luck(key, torch.arange(len(users))), shares)


def _ends(users: Tensor, key: int, shares: Tensor) -> Tensor:
    return torch.bucketize(_luck(key, users), shares.double().cumsum(0), right=True).clamp(min=1)


def _not_added(users: Tensor, key: int, shares: Tensor) -> Tensor:
    return torch.bucketize(_luck(key, users), shares.double()[:-1].sort().values, right=True)


ASSIGN = Exercise(
    name="assign",
    solution=_assign,
    examples=(
        (torch.tensor([3, 14, 15, 92, 65, 35, 89, 79]), 2019, torch.tensor([0.5, 0.5])),
        (torch.arange(100, 160), 7, torch.tensor([0.2, 0.3, 0.5])),
    ),
    mistakes={
        "the experiment's key is not used. Then every experiment divides the users alike, and the "
        "winners of the last test are all in one arm of the next: pass `key` to `uniform`.": (
            _unsalted
        ),
        "users take turns by their number. Numbers may carry the day of registration or the "
        "machine that gave them out: hash them.": _in_turn,
        "the arms have equal shares. Cut the numbers where the shares, added up, say.": (
            _equal_shares
        ),
        "the place in the list is hashed, not the user's id. Tomorrow she stands elsewhere, and "
        "gets another arm.": _places,
        "the arms are counted from 1. The first is 0.": _ends,
        "the numbers are cut at the shares themselves. Cut them at their running sum: 0.2, 0.3, "
        "0.5 cuts at 0.2 and 0.5.": _not_added,
    },
)

# What clicks say when places differ


def _attraction(
    lists: Int[Tensor, "requests places"],
    clicked: Bool[Tensor, "requests places"],
    looks: Float[Tensor, " places"],
    items: int,
) -> Float[Tensor, " items"]:
    return _ratio(lists, clicked.double(), looks.double().expand(lists.shape), items)


def _ratio(lists: Tensor, above: Tensor, below: Tensor, items: int) -> Tensor:
    """Two sums by item, one over the other; 0 for padding and for what nobody was shown."""
    sums = torch.zeros((2, items + 1), dtype=torch.float64)
    for row, values in enumerate((above, below)):
        sums[row].index_add_(0, lists.flatten(), values.double().flatten())
    return torch.where(sums[1] > 0, sums[0] / sums[1], 0.0).index_fill(0, torch.tensor([0]), 0.0)


def _raw(lists: Tensor, clicked: Tensor, looks: Tensor, items: int) -> Tensor:
    return _ratio(lists, clicked, torch.ones(lists.shape), items)


def _weighted(lists: Tensor, clicked: Tensor, looks: Tensor, items: int) -> Tensor:
    return _ratio(lists, clicked / looks, torch.ones(lists.shape), items)


def _multiplied(lists: Tensor, clicked: Tensor, looks: Tensor, items: int) -> Tensor:
    return _ratio(lists, clicked * looks, torch.ones(lists.shape), items)


def _only_clicked(lists: Tensor, clicked: Tensor, looks: Tensor, items: int) -> Tensor:
    return _ratio(lists, clicked, looks.expand(lists.shape) * clicked, items)


def _unnormalized(lists: Tensor, clicked: Tensor, looks: Tensor, items: int) -> Tensor:
    return _ratio(lists, clicked, (looks / looks.sum()).expand(lists.shape), items)


def _shop_window(seed: int, requests: int, places: int, items: int) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    lists = torch.stack(
        [torch.randperm(items, generator=draw)[:places] + 1 for _ in range(requests)]
    )
    looks = 1 / torch.arange(1, places + 1).double()
    clicked = torch.rand(lists.shape, generator=draw) < 0.8 * looks
    lists[0, -1], clicked[0, -1] = 0, False  # a list that has ended
    return lists, clicked, looks


ATTRACTION = Exercise(
    name="attraction",
    solution=_attraction,
    examples=((*_shop_window(0, 6, 3, 4), 4), (*_shop_window(1, 200, 8, 20), 20)),
    mistakes={
        "this is the raw CTR, clicks over impressions. An item at the tenth place is hardly looked "
        "at: divide by the looks that are expected, not by impressions.": _raw,
        "each click counts 1 / looks, over impressions. That is right on average too, but one "
        "click at a late place then counts as much as many early ones. Sum the clicks, sum the "
        "expected looks, divide once.": _weighted,
        "clicks are multiplied by the probability of a look: that makes late places count even "
        "less. Divide.": _multiplied,
        "only the looks of clicked impressions are summed. Who looked and did not click counts "
        "below as well.": _only_clicked,
        "the probabilities of a look are scaled to sum to 1. They are probabilities one by one: "
        "take them as they are.": _unnormalized,
    },
)

# K lists, as far as they came in time


def _in_time(
    items: Int[Tensor, "interests m"],
    scores: Float[Tensor, "interests m"],
    milliseconds: Float[Tensor, " interests"],
    budget: float,
    n: int,
) -> Int[Tensor, " n"]:
    return _merged(items[milliseconds <= budget], scores[milliseconds <= budget], n)


def _merged(items: Tensor, scores: Tensor, n: int) -> Tensor:
    best: dict[int, float] = {}
    for item, score in zip(items.flatten().tolist(), scores.flatten().tolist(), strict=True):
        best[item] = max(score, best.get(item, -math.inf))
    return _padded(sorted(best, key=best.__getitem__, reverse=True), n)


def _padded(found: list[int], n: int) -> Tensor:
    return torch.tensor([*found[:n], *[0] * (n - len(found))])


def _waited(items: Tensor, scores: Tensor, milliseconds: Tensor, budget: float, n: int) -> Tensor:
    return _merged(items, scores, n)


def _one_by_one(
    items: Tensor, scores: Tensor, milliseconds: Tensor, budget: float, n: int
) -> Tensor:
    there = milliseconds.cumsum(0) <= budget
    return _merged(items[there], scores[there], n)


def _none_if_late(
    items: Tensor, scores: Tensor, milliseconds: Tensor, budget: float, n: int
) -> Tensor:
    return _in_time(items, scores, milliseconds, budget, n) * (milliseconds <= budget).all()


def _twice(items: Tensor, scores: Tensor, milliseconds: Tensor, budget: float, n: int) -> Tensor:
    there = milliseconds <= budget
    order = scores[there].flatten().argsort(descending=True)
    return _padded(items[there].flatten()[order].tolist(), n)


def _last_score(
    items: Tensor, scores: Tensor, milliseconds: Tensor, budget: float, n: int
) -> Tensor:
    there = milliseconds <= budget
    pairs = zip(items[there].flatten().tolist(), scores[there].flatten().tolist(), strict=True)
    found = dict(pairs)
    return _padded(sorted(found, key=found.__getitem__, reverse=True), n)


def _chained(items: Tensor, scores: Tensor, milliseconds: Tensor, budget: float, n: int) -> Tensor:
    return _padded(list(dict.fromkeys(items[milliseconds <= budget].flatten().tolist())), n)


def _searches(seed: int, interests: int, m: int, items: int) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    found = torch.stack([torch.randperm(items, generator=draw)[:m] + 1 for _ in range(interests)])
    scores = torch.rand(found.shape, generator=draw).sort(1, descending=True).values
    return found, scores, 2 + 8 * torch.rand(interests, generator=draw)


IN_TIME = Exercise(
    name="in_time",
    solution=_in_time,
    examples=(
        (
            torch.tensor([[7, 3, 9], [3, 5, 2], [8, 7, 1]]),
            torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.7, 0.3], [1.0, 0.6, 0.2]]),
            torch.tensor([4.0, 5.0, 30.0]),
            15.0,
            4,
        ),
        (*_searches(1, 5, 6, 12), 7.0, 8),
        (*_searches(5, 4, 3, 6), 6.0, 10),
    ),
    mistakes={
        "a list that came too late is in the page. The budget is over: merge what is there.": (
            _waited
        ),
        "the times are added up. The searches run side by side: each has the whole budget.": (
            _one_by_one
        ),
        "one late search leaves the user without a list. The others are there: use them.": (
            _none_if_late
        ),
        "an item that two interests have found stands there twice.": _twice,
        "an item keeps the score of the last list that has it. Its score is the best one "
        "(Eq. 3).": _last_score,
        "the lists stand one behind another. Sort by score across them.": _chained,
    },
)

# Is the split what it should be?


def _sample_ratio(
    counts: Int[Tensor, " arms"], shares: Float[Tensor, " arms"]
) -> Float[Tensor, ""]:
    expected = shares.double() * counts.sum()
    return _tail(((counts - expected) ** 2 / expected).sum(), len(counts) - 1)


def _tail(chi_square: Tensor, degrees: int) -> Tensor:
    half = torch.tensor(degrees / 2, dtype=torch.float64)
    return torch.special.gammaincc(half, chi_square.double() / 2)


def _as_if_equal(counts: Tensor, shares: Tensor) -> Tensor:
    return _sample_ratio(counts, torch.full_like(shares, 1 / len(shares)))


def _too_free(counts: Tensor, shares: Tensor) -> Tensor:
    expected = shares.double() * counts.sum()
    return _tail(((counts - expected) ** 2 / expected).sum(), len(counts))


def _by_observed(counts: Tensor, shares: Tensor) -> Tensor:
    expected = shares.double() * counts.sum()
    return _tail(((counts - expected) ** 2 / counts).sum(), len(counts) - 1)


def _of_shares(counts: Tensor, shares: Tensor) -> Tensor:
    observed = counts.double() / counts.sum()
    return _tail(((observed - shares) ** 2 / shares).sum(), len(counts) - 1)


def _not_squared(counts: Tensor, shares: Tensor) -> Tensor:
    expected = shares.double() * counts.sum()
    return _tail(((counts - expected).abs() / expected).sum(), len(counts) - 1)


def _other_tail(counts: Tensor, shares: Tensor) -> Tensor:
    return 1 - _sample_ratio(counts, shares)


SAMPLE_RATIO = Exercise(
    name="sample_ratio",
    solution=_sample_ratio,
    examples=(
        (torch.tensor([5070, 4930]), torch.tensor([0.5, 0.5], dtype=torch.float64)),
        (torch.tensor([940, 2080, 2050]), torch.tensor([0.2, 0.4, 0.4], dtype=torch.float64)),
    ),
    mistakes={
        "equal shares are taken for what should be. It is `shares` that should be.": _as_if_equal,
        "there is one degree of freedom too many. The counts add up to a known sum: arms - 1.": (
            _too_free
        ),
        "the squares are divided by the counts that were found. Divide by those expected.": (
            _by_observed
        ),
        "shares are compared instead of counts. A deviation of one percent is luck among a "
        "hundred users and none among a million: compare counts.": _of_shares,
        "the deviations are not squared.": _not_squared,
        "this is the probability of a smaller deviation. Asked is that of one at least as "
        "large.": _other_tail,
    },
)
