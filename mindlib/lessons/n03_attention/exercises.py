"""The exercises of notebook 03: margins, a division of the catalog, scores of candidates."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from mindlib.lessons.common.staged import Exercise


def _scores(V: Tensor, e: Tensor) -> Tensor:
    return (V @ e[:, :, None]).squeeze(2)


def _margins(V: Tensor, label: Tensor, rival: Tensor) -> Tensor:
    of_label, of_rival = _scores(V, label).max(1), _scores(V, rival)
    in_training = of_label.values - of_rival.gather(1, of_label.indices[:, None])[:, 0]
    return torch.stack([in_training, of_label.values - of_rival.amax(1)], dim=1)


_USERS = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [-1.0, 2.0]]])
_LABELS = torch.tensor([[1.0, 0.0], [0.5, 1.0]])
_RIVALS = torch.tensor([[0.0, 3.0], [1.0, 0.2]])

MARGINS = Exercise(
    name="margins",
    solution=_margins,
    examples=((_USERS[:1], _LABELS[:1], _RIVALS[:1]), (_USERS, _LABELS, _RIVALS)),
    mistakes={
        "in training the rival is scored by the interest that the label selects, not by its "
        "own best interest.": lambda *given: _margins(*given)[:, [1, 1]],
        "in serving the rival is scored by its own best interest (Eq. 3).": (
            lambda *given: _margins(*given)[:, [0, 0]]
        ),
        "the two columns are exchanged: training comes first.": (
            lambda *given: _margins(*given)[:, [1, 0]]
        ),
    },
)

LOWEST_LOSS = Exercise(
    name="lowest_loss",
    solution=lambda sizes: (sizes * sizes.log()).sum() / sizes.sum(),
    examples=(
        (torch.tensor([2.0, 2.0]),),
        (torch.tensor([3.0, 1.0]),),
        (torch.tensor([6.0, 3.0, 2.0, 1.0]),),
    ),
    mistakes={
        "this is the loss of a uniform distribution over the catalog, which a model reaches "
        "without any interests. Each label is compared with its own group only.": (
            lambda sizes: sizes.sum().log()
        ),
        "log N - log K holds only if all groups have the same size.": lambda sizes: (
            sizes.mean().log()
        ),
        "a group of n films is the label's group n times out of N: weight the groups.": (
            lambda sizes: sizes.log().mean()
        ),
    },
)


def _candidate_scores(
    V: Tensor, active: Tensor, e: Tensor, p: float, queries: int | None = None
) -> Tensor:
    """Score candidates (C, d), each with its own weights; the first one's if `queries` is 1."""
    s = V @ e.T
    w = (p * s[:, :, :queries]).masked_fill(~active[:, :, None], -torch.inf).softmax(1)
    return (w * s).sum(1)


def _over_candidates(V: Tensor, active: Tensor, e: Tensor, p: float) -> Tensor:
    s = V @ e.T
    return ((p * s).softmax(2) * s * active[:, :, None]).sum(1)


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
        "is Eq. 10; here each candidate has weights of its own.": partial(
            _candidate_scores, queries=1
        ),
        "the softmax runs over the candidates; it has to run over the interests.": _over_candidates,
        "interests that the user does not have receive weight: fill their p * s with -inf before "
        "the softmax.": lambda V, active, e, p: _candidate_scores(V, torch.ones_like(active), e, p),
    },
)
