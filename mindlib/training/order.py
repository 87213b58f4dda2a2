"""The random order and the random sample of an epoch's training cases, however many there are."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

ROUNDS = 8


class RandomOrder:
    """A pseudo-random permutation of 0..size-1, of which any part can be computed.

    It is a Feistel network: each round adds a hash of one half of a number's bits to the other
    half, which can be undone, so that different numbers remain different. A result that is not
    below `size` is permuted again until it is ("cycle walking").

    Args:
        size: the number of elements, at least 1.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size
        self.bits = np.uint64(max(4, ((size - 1).bit_length() + 1) // 2))  # of a half
        self.keys = rng.integers(2**64, size=ROUNDS, dtype=np.uint64)

    def __getitem__(self, positions: slice) -> Int[np.ndarray, " positions"]:
        """Return the elements at these positions of the order."""
        numbers = self._permute(np.arange(*positions.indices(self.size), dtype=np.uint64))
        while (outside := np.flatnonzero(numbers >= self.size)).size:
            numbers[outside] = self._permute(numbers[outside])
        return numbers.astype(np.int64)

    def _permute(self, numbers: np.ndarray) -> np.ndarray:
        mask = (np.uint64(1) << self.bits) - np.uint64(1)
        left, right = numbers >> self.bits, numbers & mask
        for key in self.keys:
            # Products are modulo 2^64. The constants, of splitmix64, mix the bits well.
            mixed = (right ^ key) * np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(32)
            mixed *= np.uint64(0x94D049BB133111EB)
            left, right = right, left ^ (mixed >> (np.uint64(64) - self.bits))
        return left << self.bits | right


class UserSample:
    """A random sample of at most `limit` cases of each user, numbered by user.

    It is a systematic sample: its cases are evenly spaced among those of the user, from a random
    start. All cases of a user are in it with the same probability.

    Args:
        counts: the number of cases of each user.
        limit: at least 1.
    """

    def __init__(
        self, counts: Int[np.ndarray, " users"], limit: int, rng: np.random.Generator
    ) -> None:
        kept = counts.clip(max=limit)
        self.spacing = counts / np.maximum(kept, 1)
        self.first_case, self.first = (np.r_[0, n.cumsum()] for n in (counts, kept))
        # In single precision, so that the sums below are exact.
        self.starts = rng.random(len(counts), dtype=np.float32)

    def find(self, n: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """Return the n-th cases of the sample, counted from 0."""
        users = np.searchsorted(self.first, n, side="right") - 1
        position = (n - self.first[users] + self.starts[users]) * self.spacing[users]
        return self.first_case[users] + position.astype(np.int64)
