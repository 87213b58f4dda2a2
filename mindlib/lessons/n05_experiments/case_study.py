"""Two users chosen by rule, what their interests hold and what they retrieve (Figs. 5 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from mindlib.data.histories import History
from mindlib.layers.routing import num_interests
from mindlib.lessons.n05_experiments.breadth import breadth


class Chosen(NamedTuple):
    """A user of the case study.

    Attributes:
        row: her place in the history.
        touched: the number of categories of her window.
        entropy: of their shares, in bits.
        interests: K'_u.
    """

    row: int
    touched: int
    entropy: float
    interests: int


def choose_users(
    history: History, categories: Int[Tensor, " items"], max_interests: int
) -> tuple[Chosen, Chosen]:
    """The user with the most diverse and the one with the narrowest interests.

    The rule looks at no model: of the users with the most interests that Eq. 9 gives anybody
    here, all of whose behaviours have a category, the one with the largest and the one with the
    smallest entropy of categories in the window; of equals the first.

    Args:
        history: the windows that the model sees.
        categories: the category of each item; 0 is unknown, and entry 0 is padding's.
        max_interests: K.

    Raises:
        ValueError: fewer than two users may be chosen.
    """
    lengths = history.mask.sum(1)
    interests = num_interests(lengths, max_interests)
    spread = breadth(history, categories)
    candidates = spread.known & (lengths > 0)
    candidates &= interests == interests[candidates].max() if candidates.any() else candidates
    rows = candidates.nonzero()[:, 0]
    if len(rows) < 2:
        raise ValueError(
            f"{len(rows)} of {len(lengths)} users may be chosen; expected at least two with the "
            f"same K'_u and a category for each behaviour: take a coarser field, or more users"
        )
    # Rounded, so that equal shares in another order are equal; argmax takes the first of equals.
    entropy = (spread.entropy[rows] * 1e9).round()
    first, last = int(rows[entropy.argmax()]), int(rows[entropy.argmin()])

    def chosen(row: int) -> Chosen:
        return Chosen(
            row, int(spread.touched[row]), float(spread.entropy[row]), int(interests[row])
        )

    return chosen(first), chosen(last)


def aligned(
    couplings: Sequence[Float[np.ndarray, "interests behaviors"]],
) -> list[Float[np.ndarray, "interests behaviors"]]:
    """The couplings of several seeds, their interests in the order that fits the first best.

    Interests have no names: interest 1 of one seed may be interest 3 of another. Of all orders
    the one is taken whose coupling has the largest sum of products with the first's.
    """
    first = couplings[0]
    return [c[linear_sum_assignment(first @ c.T, maximize=True)[1]] for c in couplings]


def same_grouping(
    a: Float[np.ndarray, "interests behaviors"], b: Float[np.ndarray, "interests behaviors"]
) -> float:
    """Do two couplings put the same behaviours together? The adjusted Rand index.

    Each behaviour counts for the interest that has most of it. 1: the same groups, whatever the
    interests are called; 0: what chance gives.
    """
    return float(adjusted_rand_score(a.argmax(0), b.argmax(0)))


class Retrieved(NamedTuple):
    """What each interest of one user would retrieve.

    Attributes:
        items: its best items, the best first.
        similarity: their cosine to it.
    """

    items: Int[Tensor, "interests n"]
    similarity: Float[Tensor, "interests n"]


def retrieved_by_each(
    interests: Float[Tensor, "interests dim"],
    items: Float[Tensor, "items dim"],
    n: int,
    *,
    exclude: Int[Tensor, " excluded"],
) -> Retrieved:
    """Each interest's n best items by the model's score, and how near they are (Fig. 6).

    Args:
        interests: the active ones; one row for a model with one vector.
        items: the catalogue's vectors; row 0 is padding.
        exclude: the items of the user's history.

    Raises:
        ValueError: the catalogue has fewer than n other items.
    """
    scores = interests @ items.T
    scores[:, 0] = -torch.inf
    scores[:, exclude] = -torch.inf
    left = int((scores[0] > -torch.inf).sum())
    if not 1 <= n <= left:
        raise ValueError(f"n={n}: expected 1 to {left}, the items that the user has not had")
    best = scores.topk(n).indices
    return Retrieved(best, _cosine(interests, items).gather(1, best))


def random_similarity(
    interests: Float[Tensor, "interests dim"],
    items: Float[Tensor, "items dim"],
    n: int,
    *,
    exclude: Int[Tensor, " excluded"],
    generator: torch.Generator,
) -> Float[Tensor, " n"]:
    """How near n random items are to the interest that is nearest to each: the strip below.

    The nearest, because Eq. 3 gives an item that chance too.

    Args:
        exclude: items that are not drawn, such as the user's history.

    Raises:
        ValueError: the catalogue has fewer than n other items.
    """
    allowed = torch.ones(len(items), dtype=torch.bool)
    allowed[0] = False
    allowed[exclude] = False
    places = allowed.nonzero()[:, 0]
    if not 1 <= n <= len(places):
        raise ValueError(f"n={n}: expected 1 to {len(places)}, the items that may be drawn")
    drawn = places[torch.randperm(len(places), generator=generator)[:n]]
    return _cosine(interests, items[drawn]).amax(0)


class Named(NamedTuple):
    """What an interest is about.

    Attributes:
        category: that of most of its items.
        share: the share of its items that have it.
    """

    category: str
    share: float


def named_interests(
    items: Int[Tensor, "interests n"],
    categories: Int[Tensor, " items"],
    vocabulary: Sequence[str],
) -> list[Named]:
    """The category that most of each interest's items have; of equals the one with the lower code.

    Args:
        items: as `Retrieved` has them.
        categories: the category of each item of the catalogue.
        vocabulary: the name of each category.
    """
    counts = torch.nn.functional.one_hot(categories[items], len(vocabulary)).sum(1)
    most = counts.max(1)
    return [
        Named(vocabulary[int(code)], int(count) / items.shape[1])
        for count, code in zip(most.values, most.indices, strict=True)
    ]


def _cosine(a: Float[Tensor, "n dim"], b: Float[Tensor, "items dim"]) -> Float[Tensor, "n items"]:
    unit = torch.nn.functional.normalize
    return unit(a, dim=1) @ unit(b, dim=1).T
