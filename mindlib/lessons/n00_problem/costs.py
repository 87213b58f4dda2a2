"""What it costs to score items, in multiply-adds: counted, not timed (§3.1)."""

from __future__ import annotations

import itertools
import math


def layers(*widths: int) -> int:
    """One pass through dense layers of these widths."""
    return sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(widths))


def ranker(dim: int, hidden: tuple[int, ...] = (200, 80)) -> int:
    """One candidate through a small ranker: user, item and their product, dense layers, a score."""
    return layers(3 * dim, *hidden, 1)


def item_attention(dim: int, behaviors: int, hidden: tuple[int, ...] = (36,)) -> int:
    """A user vector for one candidate by attention over behaviours, as DIN builds it.

    Each behaviour meets the candidate in a small network, which gives its weight; then the
    weighted sum.
    """
    return behaviors * (layers(4 * dim, *hidden, 1) + dim)


def inner_products(items: int, dim: int, interests: int = 1) -> int:
    """Every item by every interest, exactly."""
    return items * dim * interests


def inverted_index(items: int, dim: int, interests: int = 1, *, probes: int = 32) -> int:
    """A search for each interest in an index of sqrt(items) lists of sqrt(items) items each.

    The interest is compared with the centre of every list, and then with the items of the
    `probes` lists that are nearest.
    """
    lists = math.isqrt(items)
    return interests * dim * (lists + probes * math.ceil(items / lists))
