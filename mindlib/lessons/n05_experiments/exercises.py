"""The exercises of notebook 05: a paired interval, and lists that are not merged."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.lessons.common.staged import Exercise


def _paired(
    a: Float[Tensor, "seeds users"], b: Float[Tensor, "seeds users"]
) -> Float[Tensor, " 3"]:
    return _around(a.mean(0) - b.mean(0))


def _around(difference: Tensor) -> Tensor:
    middle, error = difference.mean(), difference.std() / len(difference) ** 0.5
    return torch.stack([middle, middle - 1.96 * error, middle + 1.96 * error])


def _unpaired(a: Tensor, b: Tensor) -> Tensor:
    first, second = a.mean(0), b.mean(0)
    reach = 1.96 * ((first.var() + second.var()) / len(first)).sqrt()
    middle = first.mean() - second.mean()
    return torch.stack([middle, middle - reach, middle + reach])


def _two_models(seed: int, seeds: int, users: int) -> tuple[Tensor, Tensor]:
    """Sample hits of two models on the same users, some of whom are easy for both."""
    draw = torch.Generator().manual_seed(seed)
    easy = torch.rand(users, generator=draw)
    a, b = torch.rand(2, seeds, users, generator=draw)
    return (a < easy).float(), (b + 0.1 < easy).float()


PAIRED_INTERVAL = Exercise(
    name="paired_interval",
    solution=_paired,
    examples=(_two_models(0, 3, 12), _two_models(1, 5, 40)),
    mistakes={
        "each seed of a user counts as another user. Average over the seeds first.": (
            lambda a, b: _around((a - b).flatten())
        ),
        "the models are treated as if they had different users. Take the difference for each "
        "user first.": _unpaired,
    },
)


def _any_list(
    scores: Float[Tensor, "users interests items"],
    active: Bool[Tensor, "users interests"],
    is_target: Bool[Tensor, "users items"],
    n: int,
) -> Float[Tensor, ""]:
    best = scores.topk(n).indices
    found = is_target[:, None, :].expand(scores.shape).gather(2, best).any(2)
    return (found & active).any(1).float().mean()


def _merged(scores: Tensor, active: Tensor, is_target: Tensor, n: int) -> Tensor:
    best = scores.masked_fill(~active[:, :, None], -torch.inf).amax(1).topk(n).indices
    return is_target.gather(1, best).any(1).float().mean()


def _scored(seed: int, users: int) -> tuple[Tensor, Tensor, Tensor, int]:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(users, 3, 30, generator=draw) * torch.tensor([3.0, 1.0, 2.0])[:, None]
    active = torch.tensor([[True, True, False], [True, True, True]]).repeat(users // 2, 1)
    return scores, active, torch.rand(users, 30, generator=draw) < 0.05, 4


ANY_LIST = Exercise(
    name="any_list_hit_rate",
    solution=_any_list,
    examples=(_scored(0, 60), _scored(1, 200)),
    mistakes={
        "this merges the lists first. Keep the n best items of each interest.": _merged,
        "the lists of inactive interests count too. Leave them out.": (
            lambda scores, active, *rest: _any_list(scores, torch.ones_like(active), *rest)
        ),
    },
)
