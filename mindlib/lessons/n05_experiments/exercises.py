"""The exercises of notebook 05: HitRate, a fair interval, exclusion, and a leak to be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.lessons.common.staged import Exercise

# HitRate@N, Eq. 12, for several targets a case


def _hit_rate(
    lists: Int[Tensor, "cases length"], targets: Int[Tensor, "cases most"], n: int
) -> Float[Tensor, ""]:
    return _hits(lists[:, :n], targets).any(1).float().mean()


def _hits(lists: Tensor, targets: Tensor, *, padding: bool = False) -> Tensor:
    """Which targets stand in the list of their case."""
    found = (lists[:, :, None] == targets[:, None, :]).any(1)
    return found if padding else found & (targets > 0)


def _recall(lists: Tensor, targets: Tensor, n: int) -> Tensor:
    return (_hits(lists[:, :n], targets).sum(1) / (targets > 0).sum(1)).mean()


def _micro(lists: Tensor, targets: Tensor, n: int) -> Tensor:
    return _hits(lists[:, :n], targets).sum() / (targets > 0).sum()


def _counted(lists: Tensor, targets: Tensor, n: int) -> Tensor:
    return _hits(lists[:, :n], targets).sum(1).float().mean()


def _precision(lists: Tensor, targets: Tensor, n: int) -> Tensor:
    return (_hits(lists[:, :n], targets).sum(1) / n).mean()


def _all_of_them(lists: Tensor, targets: Tensor, n: int) -> Tensor:
    return (_hits(lists[:, :n], targets) | (targets == 0)).all(1).float().mean()


def _with_padding(lists: Tensor, targets: Tensor, n: int) -> Tensor:
    return _hits(lists[:, :n], targets, padding=True).any(1).float().mean()


def _whole_list(lists: Tensor, targets: Tensor, n: int) -> Tensor:
    return _hits(lists, targets).any(1).float().mean()


def _anybody(lists: Tensor, targets: Tensor, n: int) -> Tensor:
    return (torch.isin(targets, lists[:, :n].contiguous()) & (targets > 0)).any(1).float().mean()


_LISTS = torch.tensor(
    [[2, 1, 5, 3], [3, 10, 9, 1], [9, 7, 3, 2], [6, 4, 2, 5], [8, 11, 5, 1], [9, 11, 0, 0]]
)
_TARGETS = torch.tensor([[4, 13, 3], [13, 8, 1], [9, 3, 7], [5, 10, 12], [11, 3, 0], [8, 0, 0]])

HIT_RATE = Exercise(
    name="hit_rate",
    solution=_hit_rate,
    examples=(
        (_LISTS[:3], torch.tensor([[1], [8], [3]]), 3),
        # Here every mistake has a figure of its own.
        (_LISTS, _TARGETS, 3),
        (_LISTS, _TARGETS, 4),
    ),
    mistakes={
        "the padding counts as a hit. Target 0 and item 0 mean that there is none: two gaps are "
        "not a match.": _with_padding,
        "the whole list counts. Only its first n places do.": _whole_list,
        "a case hits with the list of another. Compare each case's targets with its own "
        "list.": _anybody,
        "this is Recall: the share of a case's targets. A case is hit or it is not, once is "
        "enough.": _recall,
        "this is the share of all targets that are found. HitRate asks each case for one: cases "
        "with many targets must not weigh more.": _micro,
        "a case with two targets in its list counts twice. It is hit or it is not.": _counted,
        "this is precision: hits are divided by n. A case is hit or it is not, however long the "
        "list.": _precision,
        "a case counts only if all its targets are found. One is enough.": _all_of_them,
    },
)


# A difference with its interval


def _paired(
    a: Float[Tensor, "seeds users"], b: Float[Tensor, "seeds users"]
) -> Float[Tensor, " 3"]:
    difference = a.mean(0) - b.mean(0)
    return _around(difference.mean(), difference.std() / len(difference) ** 0.5)


def _around(middle: Tensor, error: Tensor) -> Tensor:
    return torch.stack([middle, middle - 1.96 * error, middle + 1.96 * error])


def _pooled(a: Tensor, b: Tensor) -> Tensor:
    difference = (a - b).flatten()
    return _around(difference.mean(), difference.std() / len(difference) ** 0.5)


def _over_seeds(a: Tensor, b: Tensor) -> Tensor:
    difference = a.mean(1) - b.mean(1)
    return _around(difference.mean(), difference.std() / len(difference) ** 0.5)


def _unpaired(a: Tensor, b: Tensor) -> Tensor:
    first, second = a.mean(0), b.mean(0)
    error = ((first.var() + second.var()) / len(first)).sqrt()
    return _around(first.mean() - second.mean(), error)


def _first_seed(a: Tensor, b: Tensor) -> Tensor:
    return _paired(a[:1], b[:1])


def _spread(a: Tensor, b: Tensor) -> Tensor:
    difference = a.mean(0) - b.mean(0)
    return _around(difference.mean(), difference.std())


def _biased(a: Tensor, b: Tensor) -> Tensor:
    difference = a.mean(0) - b.mean(0)
    return _around(difference.mean(), difference.std(correction=0) / len(difference) ** 0.5)


def _reversed(a: Tensor, b: Tensor) -> Tensor:
    return _paired(b, a)


def _two_models(seed: int, seeds: int, users: int) -> tuple[Tensor, Tensor]:
    """Hits of two models on the same users: some users are easy for both."""
    draw = torch.Generator().manual_seed(seed)
    easy = torch.rand(users, generator=draw)
    a, b = torch.rand(2, seeds, users, generator=draw)
    return (a < easy).float(), (b + 0.1 < easy).float()


PAIRED_INTERVAL = Exercise(
    name="paired_interval",
    solution=_paired,
    examples=(_two_models(0, 3, 12), _two_models(1, 5, 40)),
    mistakes={
        "every seed of a user counts as a user of her own. The same users five times are not five "
        "times the users: average over the seeds first.": _pooled,
        "the interval is over seeds. It would say how far training again may move the figure; "
        "asked is what other users would: average over the seeds, then look at the spread over "
        "users.": _over_seeds,
        "the two models are treated as if they had met different users. Who is easy for one is "
        "easy for the other: take the difference of each user first.": _unpaired,
        "only the first seed is looked at. Average over the seeds.": _first_seed,
        "this is the spread of the users, not that of their mean: divide by the square root of "
        "their number.": _spread,
        "the deviation divides by n. Of a sample's own mean it is n - 1: torch.std's default.": (
            _biased
        ),
        "the sign is that of b - a; expected a - b.": _reversed,
    },
)


# Leave out what the user has had


def _exclude(
    scores: Float[Tensor, "users items"], history: Int[Tensor, "users length"], n: int
) -> Int[Tensor, "users n"]:
    masked = scores.scatter(1, history, -torch.inf)
    masked[:, 0] = -torch.inf  # padding is not for sale
    return masked.topk(n).indices


def _zeroed(scores: Tensor, history: Tensor, n: int) -> Tensor:
    masked = scores.scatter(1, history, 0.0)
    masked[:, 0] = -torch.inf
    return masked.topk(n).indices


def _kept(scores: Tensor, history: Tensor, n: int) -> Tensor:
    masked = scores.clone()
    masked[:, 0] = -torch.inf
    return masked.topk(n).indices


def _padding_sold(scores: Tensor, history: Tensor, n: int) -> Tensor:
    masked = scores.scatter(1, history, -torch.inf)
    masked[:, 0] = scores[:, 0]
    return masked.topk(n).indices


def _padding_sometimes(scores: Tensor, history: Tensor, n: int) -> Tensor:
    return scores.scatter(1, history, -torch.inf).topk(n).indices


def _for_everybody(scores: Tensor, history: Tensor, n: int) -> Tensor:
    masked = scores.clone()
    masked[:, history.flatten()] = -torch.inf
    masked[:, 0] = -torch.inf
    return masked.topk(n).indices


def _afterwards(scores: Tensor, history: Tensor, n: int) -> Tensor:
    found = _kept(scores, history, n)
    return found.masked_fill((found[:, :, None] == history[:, None, :]).any(2), 0)


def _last_only(scores: Tensor, history: Tensor, n: int) -> Tensor:
    # The last behaviour: histories are padded at the end.
    last = (history > 0).sum(1, keepdim=True) - 1
    return _exclude(scores, history.gather(1, last.clamp(min=0)), n)


_SCORES = torch.tensor(
    [
        [-1.0, -1.2, -0.3, 0.5, -0.4, 0.0, -1.3, -1.5, -1.6],
        [0.3, -0.5, -1.2, -2.2, -0.4, 0.7, 1.7, -0.1, -1.1],
        [-1.3, -0.7, -0.5, -0.4, -2.4, -2.1, -0.8, -0.6, -0.9],
        [-0.2, -2.7, -1.3, -3.2, 0.1, -2.3, -1.2, -2.5, -0.1],
    ]
)
_HISTORY = torch.tensor([[8, 3, 5], [2, 1, 0], [8, 0, 0], [7, 6, 3]])

EXCLUDE_HISTORY = Exercise(
    name="recommend",
    solution=_exclude,
    examples=(
        (torch.tensor([[0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]]), torch.tensor([[4, 2]]), 3),
        # Here every mistake has a list of its own.
        (_SCORES, _HISTORY, 4),
    ),
    mistakes={
        "what the user has had is still in the list. Set its score to -inf before you sort.": _kept,
        "what the user has had gets a score of 0. A score may be negative, and then 0 is the best "
        "there is: use -inf.": _zeroed,
        "item 0 is recommended. It is padding and not for sale, whatever its score: -inf for "
        "everybody.": _padding_sold,
        "item 0 is recommended to users whose history is full. It went only where the padding "
        "happened to mask it: give it -inf for everybody.": _padding_sometimes,
        "an item that one user has had is withheld from all. Mask each row by its own "
        "history.": _for_everybody,
        "the items are taken out of the finished list, which is now shorter. Mask the scores "
        "first, then take n.": _afterwards,
        "only the last behaviour is left out. Leave out all of them.": _last_only,
    },
)


# Where is the leak?

Judge = Literal["validation", "test"]


def _protocol(
    validation: Float[Tensor, "settings seeds epochs"], test: Float[Tensor, "settings seeds epochs"]
) -> Float[Tensor, ""]:
    return _reported()(validation, test)


def _reported(
    *,
    epoch: Judge | Literal["last"] = "validation",
    setting: Judge = "validation",
    told: Judge = "test",
    best_seed: Judge | None = None,
    average_first: bool = True,
) -> Callable[[Tensor, Tensor], Tensor]:
    """The figure that is reported, each choice made by one of the two sets."""

    def report(validation: Tensor, test: Tensor) -> Tensor:
        sets = {"validation": validation, "test": test}
        if epoch == "last":
            chosen = torch.full_like(validation[..., :1], validation.shape[2] - 1).long()
        else:
            chosen = sets[epoch].argmax(2, keepdim=True)
        runs = {name: values.gather(2, chosen)[..., 0] for name, values in sets.items()}
        by = runs[setting].mean(1) if average_first else runs[setting].amax(1)
        row = int(by.argmax())
        if best_seed is not None:
            return runs[told][row, runs[best_seed][row].argmax()]
        return runs[told][row].mean()

    return report


def _curves(seed: int, settings: int, seeds: int, epochs: int) -> tuple[Tensor, Tensor]:
    """Validation and test of each run by epoch: alike, but for the luck of each."""
    draw = torch.Generator().manual_seed(seed)
    common = torch.rand(settings, 1, epochs, generator=draw)
    own = torch.rand(2, settings, seeds, epochs, generator=draw)
    return tuple((0.3 + 0.05 * common + 0.05 * own).unbind())  # pyright: ignore[reportReturnType]


FIND_THE_LEAK = Exercise(
    name="reported",
    solution=_protocol,
    examples=(
        # The draws are such that every mistake has a figure of its own.
        _curves(121, 4, 3, 6),
        _curves(0, 8, 5, 12),
    ),
    mistakes={
        "the setting is the one with the best test figure. The test set has chosen it, and can no "
        "longer judge it: choose by validation.": _reported(setting="test"),
        "each run stops at its best test epoch. That is a choice as well: stop where validation is "
        "best.": _reported(epoch="test"),
        "the test set has chosen the epoch and the setting. Both are choices: make them by "
        "validation.": _reported(epoch="test", setting="test"),
        "the best seed by its test figure is reported. A seed is luck: report the mean over "
        "seeds.": _reported(best_seed="test"),
        "the best seed by its validation figure is reported. No leak, but one draw of several: "
        "report the mean over seeds.": _reported(best_seed="validation"),
        "the figure is that of validation, by which it was chosen: of several it is the luckiest. "
        "Report the test figure.": _reported(told="validation"),
        "the last epoch is taken. No leak, but validation knows a better one: take each run's best "
        "validation epoch.": _reported(epoch="last"),
        "the setting is the one with the best single run. Choose by the mean over its seeds, or "
        "the luckiest setting wins.": _reported(average_first=False),
    },
)
