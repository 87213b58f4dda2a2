"""One user's interests in several training runs, and what each of them retrieves (§4.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Coupling = Float[np.ndarray, "interests behaviors"]


def aligned(couplings: Sequence[Coupling]) -> list[Coupling]:
    """Put the interests of each training run, which have no names, into the first run's order."""
    first = couplings[0]
    return [c[linear_sum_assignment(first @ c.T, maximize=True)[1]] for c in couplings]


def retrieved_by_each(
    interests: Float[Tensor, "interests dim"],
    items: Float[Tensor, "items dim"],
    n: int,
    exclude: Int[Tensor, " excluded"],
) -> Int[Tensor, "interests n"]:
    """Return the n items with the best score of each interest (Fig. 6).

    Args:
        items: the vectors of the catalogue; row 0 is padding.
        exclude: the items of the user's history.
    """
    scores = interests @ items.T
    scores[:, 0] = -torch.inf
    scores[:, exclude] = -torch.inf
    return scores.topk(n).indices
