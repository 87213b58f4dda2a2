"""The cost of scoring a billion items in (bytes read, FLOP); a multiply-add is 2 FLOP (§5)."""

from __future__ import annotations

import math

Cost = tuple[int | float, int | float]


def inverted_file(n: int, d: int, K: int = 1, *, probes: int = 32) -> Cost:
    """Search sqrt(n) lists of sqrt(n) float32 vectors: read all centers and `probes` lists."""
    vectors = math.isqrt(n) + probes * math.sqrt(n)
    return K * 4 * d * vectors, K * 2 * d * vectors


def attention_network(
    candidates: int | float, d: int, behaviors: int = 50, hidden: int = 36
) -> Cost:
    """Compute a user vector for each candidate from weights of all behaviors, as DIN does.

    A small network with one hidden layer reads a candidate with a behavior, their difference and
    their product, and returns the weight of the behavior.
    """
    weight = 4 * d * hidden + hidden
    return 4 * d * candidates, 2 * candidates * behaviors * (weight + d)


def tree(n: int, d: int, beam: int = 1000) -> Cost:
    """Search a binary tree over n items with the attention network as the scorer, as TDM does.

    Beam search scores the two children of `beam` nodes on each level below the first levels, which
    have fewer nodes than the beam.
    """
    return attention_network(2 * beam * math.log2(n / beam), d)
