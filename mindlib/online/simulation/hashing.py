"""Counter-based random numbers: the same keys always give the same number.

The order and the number of calls do not matter. A user therefore stays in the same arm without a
table of assignments, and all arms share common random numbers for the same user and item.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Float, Int, UInt64

# SplitMix64 (Steele, Lea and Flood, 2014): an increment, and a finalizer of two multiplications.
INCREMENT = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def hash_name(name: str) -> int:
    """Return an unsigned 64-bit number for a name; similar names have unrelated numbers."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def uniform(seed: int, *keys: Int[np.ndarray, ...] | int) -> Float[np.ndarray, ...]:
    """Return a number in [0, 1) for each combination of keys, which broadcast.

    Args:
        seed: 0 to 2^64 - 1.
        keys: whole numbers; their order matters.
    """
    with np.errstate(over="ignore"):  # the arithmetic is modulo 2^64
        state = _mix(np.asarray(seed, dtype=np.uint64))
        for key in keys:
            state = _mix(state ^ np.asarray(key).astype(np.uint64))
    return np.asarray((state >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _mix(x: UInt64[np.ndarray, ...]) -> UInt64[np.ndarray, ...]:
    x = x + np.uint64(INCREMENT)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(SECOND)
    return np.asarray(x ^ (x >> np.uint64(31)))
