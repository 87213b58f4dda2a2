"""The exercises of notebook 03: margins, a division of the catalogue, scores of candidates."""

from __future__ import annotations

import torch
from torch import Tensor

from mindlib.lessons.common.staged import Exercise


def _scores(V: Tensor, e: Tensor) -> Tensor:
    return (V @ e[:, :, None]).squeeze(2)


def _selected(V: Tensor, label: Tensor, rival: Tensor) -> Tensor:
    return _scores(V, rival).gather(1, _scores(V, label).argmax(1, keepdim=True))[:, 0]


def _margins(V: Tensor, label: Tensor, rival: Tensor) -> Tensor:
    own, other = _scores(V, label).amax(1), _scores(V, rival).amax(1)
    return torch.stack([own - _selected(V, label, rival), own - other], dim=1)


def _equal_margins(V: Tensor, label: Tensor, rival: Tensor) -> Tensor:
    return _margins(V, label, rival)[:, [1, 1]]


def _trained_twice(V: Tensor, label: Tensor, rival: Tensor) -> Tensor:
    return _margins(V, label, rival)[:, [0, 0]]


def _swapped(V: Tensor, label: Tensor, rival: Tensor) -> Tensor:
    return _margins(V, label, rival)[:, [1, 0]]


_USERS = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [-1.0, 2.0]]])
_LABELS = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
_RIVALS = torch.tensor([[0.0, 3.0], [1.0, 0.2]])

MARGINS = Exercise(
    name="margins",
    solution=_margins,
    examples=((_USERS[:1], _LABELS[:1], _RIVALS[:1]), (_USERS, _LABELS, _RIVALS)),
    mistakes={
        "in training the rival is scored by the interest that the label selects, not by its "
        "own best interest.": _equal_margins,
        "in serving the rival is scored by its own best interest (Eq. 3).": _trained_twice,
        "the two columns are exchanged: training comes first.": _swapped,
    },
)


def _lowest_loss(sizes: Tensor) -> Tensor:
    return (sizes * sizes.log()).sum() / sizes.sum()


def _uniform(sizes: Tensor) -> Tensor:
    return sizes.sum().log()


def _minus_log_interests(sizes: Tensor) -> Tensor:
    return sizes.sum().log() - torch.tensor(float(len(sizes))).log()


def _unweighted(sizes: Tensor) -> Tensor:
    return sizes.log().mean()


LOWEST_LOSS = Exercise(
    name="lowest_loss",
    solution=_lowest_loss,
    examples=(
        (torch.tensor([2.0, 2.0]),),
        (torch.tensor([3.0, 1.0]),),
        (torch.tensor([6.0, 3.0, 2.0, 1.0]),),
    ),
    mistakes={
        "this is the loss of a uniform distribution over the catalogue, which a model reaches "
        "without any interests. Each label is compared with its own group only.": _uniform,
        "log N - log K holds only if all groups have the same size.": _minus_log_interests,
        "a group of n films is the label's group n times out of N: weight the groups.": _unweighted,
    },
)


def _candidate_scores(V: Tensor, active: Tensor, e: Tensor, p: float) -> Tensor:
    s = V @ e.T
    w = (p * s).masked_fill(~active[:, :, None], -torch.inf).softmax(1)
    return (w * s).sum(1)


def _by_first(V: Tensor, active: Tensor, e: Tensor, p: float) -> Tensor:
    s = V @ e.T
    w = (p * s[:, :, :1]).masked_fill(~active[:, :, None], -torch.inf).softmax(1)
    return (w * s).sum(1)


def _over_candidates(V: Tensor, active: Tensor, e: Tensor, p: float) -> Tensor:
    s = V @ e.T
    return ((p * s).softmax(2) * s * active[:, :, None]).sum(1)


def _over_inactive(V: Tensor, active: Tensor, e: Tensor, p: float) -> Tensor:
    s = V @ e.T
    return ((p * s).softmax(1) * s).sum(1)


_FOUR = torch.tensor([[[2.0, 0.0], [1.0, -0.5], [-1.0, 2.0], [0.5, 0.7]]])
_CANDIDATES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, 0.4]])
_ALL = torch.ones(1, 4, dtype=torch.bool)
_TWO = torch.tensor([[True, True, False, False]])

CANDIDATE_SCORES = Exercise(
    name="candidate_scores",
    solution=_candidate_scores,
    examples=(
        (_FOUR[:, :2], _ALL[:, :2], _CANDIDATES[:1], 1.0),
        (_FOUR, _ALL, _CANDIDATES, 1.0),
        (_FOUR, _ALL, _CANDIDATES, 0.0),
        (_FOUR, _TWO, _CANDIDATES, 2.0),
    ),
    mistakes={
        "the first candidate, which is the label, weights the interests for all candidates. That "
        "is Eq. 10; here each candidate has weights of its own.": _by_first,
        "the softmax runs over the candidates; it has to run over the interests.": _over_candidates,
        "interests that the user does not have receive weight: fill their p * s with -inf before "
        "the softmax.": _over_inactive,
    },
)
