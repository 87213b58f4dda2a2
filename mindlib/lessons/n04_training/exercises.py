"""The exercises of notebook 04: the corrected sampled softmax, and the merge of K lists."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.lessons.common.staged import Exercise
from mindlib.retrieval import merge
from mindlib.training.sampled_softmax import sampled_softmax_loss

# The sampled softmax


def _loss(
    users: Float[Tensor, "batch dim"],
    targets: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "n dim"],
    target_ids: Int[Tensor, " batch"],
    negative_ids: Int[Tensor, " n"],
    log_q: Float[Tensor, " items"],
) -> Float[Tensor, ""]:
    expected = log_q[negative_ids] + torch.tensor(float(len(negative_ids))).log()
    return sampled_softmax_loss(users, targets, negatives, target_ids, negative_ids, expected)


def _variant(
    *,
    sign: float = -1.0,
    count: bool = True,
    own: bool = False,
    hit: float | None = -torch.inf,
    positive: bool = True,
    mean: bool = True,
) -> Callable[..., Tensor]:
    """The loss written out, with something else in it."""

    def loss(users, targets, negatives, target_ids, negative_ids, log_q) -> Tensor:
        n = torch.tensor(float(len(negative_ids))).log() if count else torch.zeros(())
        first = (users * targets).sum(1)
        others = users @ negatives.T + sign * (log_q[negative_ids] + n)
        if hit is not None:
            others = others.masked_fill(target_ids[:, None] == negative_ids, hit)
        if own:
            first = first + sign * (log_q[target_ids] + n)
        logits = torch.cat([first[:, None], others], dim=1) if positive else others
        losses = logits.logsumexp(1) - first
        return losses.mean() if mean else losses.sum()

    return loss


def _problem(
    seed: int, batch: int, n: int, *, hits: bool, q: tuple[float, ...]
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn(len(q) + 1, 3, generator=generator)
    users = torch.randn(batch, 3, generator=generator)
    target_ids = torch.arange(1, batch + 1)
    low = 1 if hits else batch + 1  # none of the targets
    negative_ids = torch.randint(low, len(q) + 1, (n,), generator=generator)
    if hits:
        negative_ids[0] = target_ids[0]
    log_q = torch.tensor((1.0, *q)).log()
    return users, items[target_ids], items[negative_ids], target_ids, negative_ids, log_q


_UNEVEN = (0.4, 0.2, 0.15, 0.1, 0.1, 0.05)

SAMPLED_LOSS = Exercise(
    name="sampled_loss",
    solution=_loss,
    examples=(
        _problem(0, 1, 3, hits=False, q=_UNEVEN),
        _problem(1, 2, 4, hits=False, q=_UNEVEN),
        _problem(2, 2, 5, hits=True, q=_UNEVEN),
        _problem(3, 3, 40, hits=True, q=_UNEVEN),
    ),
    mistakes={
        "the correction has the wrong sign. An item that is drawn often must count less each time: "
        "subtract log(n q).": _variant(sign=1.0),
        "the negatives are not corrected. Each stands for 1 / (n q) items: subtract log(n q) from "
        "its logit.": _variant(sign=0.0),
        "the correction is -log q, without n. The sum over n draws estimates n times too much: "
        "subtract log(n q).": _variant(count=False),
        "the positive is corrected too. It was not drawn, it stands in the sum for itself: leave "
        "its logit alone.": _variant(own=True),
        "accidental hits are kept. The target already stands in the sum once: fill its copies "
        "among the negatives with -inf.": _variant(hit=None),
        "accidental hits are filled with 0. That is a logit like any other, and e^0 = 1 is not "
        "nothing: fill with -inf.": _variant(hit=0.0),
        "the positive is missing in the denominator. The sum over all items has it as well.": (
            _variant(positive=False)
        ),
        "this is the sum over the batch; expected the mean.": _variant(mean=False),
    },
)


# The merge of K lists


def _merged(
    items: Int[Tensor, "users interests m"],
    scores: Float[Tensor, "users interests m"],
    active: Bool[Tensor, "users interests"],
    n: int,
) -> Int[Tensor, "users n"]:
    return merge(items, scores.masked_fill(~active[:, :, None], -torch.inf), n).items


def _combined(
    combine: Callable[[list[float]], float], *, everyone: bool = False, worst: bool = False
) -> Callable[..., Tensor]:
    """An item's scores combined to one, the items ranked by it."""

    def merged(items: Tensor, scores: Tensor, active: Tensor, n: int) -> Tensor:
        rows = []
        for user in range(len(items)):
            found: dict[int, list[float]] = {}
            for k in range(items.shape[1]):
                if active[user, k] or everyone:
                    for item, score in zip(items[user, k], scores[user, k], strict=True):
                        found.setdefault(int(item), []).append(float(score))
            order = sorted(found, key=lambda i, f=found: combine(f[i]), reverse=not worst)[:n]
            rows.append(order + [0] * (n - len(order)))
        return torch.tensor(rows)

    return merged


def _repeated(items: Tensor, scores: Tensor, active: Tensor, n: int) -> Tensor:
    flat = scores.masked_fill(~active[:, :, None], -torch.inf).flatten(1)
    best, order = flat.topk(n)
    return items.flatten(1).gather(1, order).masked_fill(best == -torch.inf, 0)


def _in_turn(items: Tensor, scores: Tensor, active: Tensor, n: int) -> Tensor:
    rows = []
    for user in range(len(items)):
        lists = items[user][active[user]]
        order = list(dict.fromkeys(lists.T.flatten().tolist()))[:n]
        rows.append(order + [0] * (n - len(order)))
    return torch.tensor(rows)


_ITEMS = torch.tensor([[[7, 3, 9], [3, 5, 2], [8, 4, 6]]])
_SCORES = torch.tensor([[[0.9, 0.5, 0.1], [0.8, 0.7, 0.3], [2.0, 0.6, 0.2]]])
_APART = torch.tensor([[[7, 3], [5, 2]]])
_APART_SCORES = torch.tensor([[[0.9, 0.8], [0.3, 0.1]]])

MERGE_LISTS = Exercise(
    name="merge_lists",
    solution=_merged,
    examples=(
        (_APART, _APART_SCORES, torch.tensor([[True, True]]), 3),
        (_ITEMS, _SCORES, torch.tensor([[True, True, True]]), 4),
        (_ITEMS, _SCORES, torch.tensor([[True, True, False]]), 3),
        (_ITEMS, _SCORES, torch.tensor([[True, False, False]]), 5),
        (
            _ITEMS.repeat(2, 1, 1),
            _SCORES.repeat(2, 1, 1) - 3,
            torch.tensor([[True, True, False]] * 2),
            4,
        ),
    ),
    mistakes={
        "an item stands in the list more than once. Two interests may find the same item: keep it "
        "once, with its best score.": _repeated,
        "an item's scores are added up. Eq. 3 takes the maximum: one interest is reason enough.": (
            _combined(sum)
        ),
        "an item's scores are averaged. Eq. 3 takes the maximum: one interest is reason enough.": (
            _combined(lambda s: sum(s) / len(s))
        ),
        "the list of an inactive interest is merged too. The user does not have this interest: "
        "leave its list out.": _combined(max, everyone=True),
        "the lists are merged in turn, by rank. The best of a weak interest then comes before the "
        "second of a strong one: sort by score.": _in_turn,
        "the worst items come first: sort by descending score.": _combined(max, worst=True),
    },
)
