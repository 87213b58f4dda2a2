"""Assignment of users to arms, and random numbers, by hashes: equal keys give equal numbers.

The order and the number of calls do not matter. A user therefore stays in the same arm without a
table of assignments, and all arms share common random numbers for the same user and item.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from mindlib.data.option_types import Options

# SplitMix64 (Steele, Lea and Flood, 2014): an increment, and a finalizer of two multiplications.
INCREMENT = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@dataclass(frozen=True)
class Experiment(Options):
    """An A/B test. Its name salts the hash, so that two tests split the users independently.

    Attributes:
        name: of the experiment; the same name always splits the same users in the same way.
        arms: their names.
        shares: of the traffic, in the arms' order; equal ones if empty.
    """

    name: str
    arms: tuple[str, ...]
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.arms or len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms={self.arms}: expected at least one arm, each name once")
        if not self.shares:
            object.__setattr__(self, "shares", (1 / len(self.arms),) * len(self.arms))
        if len(self.shares) != len(self.arms) or min(self.shares) <= 0:
            raise ValueError(
                f"shares={self.shares}: expected one share above 0 for each of {self.arms}"
            )
        if not math.isclose(sum(self.shares), 1):
            raise ValueError(f"shares={self.shares}: expected a sum of 1, not {sum(self.shares):g}")

    def members(self, user_ids: np.ndarray) -> Bool[np.ndarray, "arms users_plus_one"]:
        """Return which users each arm has: every user is in one arm, and padding in none.

        Args:
            user_ids: `Interactions.user_ids`, whole numbers; entry 0 is padding. (The contiguous
                ids are renumbered with every new user.)
        """
        if text := next((user for user in user_ids[1:] if isinstance(user, str)), None):
            raise ValueError(f"user id {text!r}: expected a whole number, whose value is hashed")
        digest = hashlib.blake2b(self.name.encode(), digest_size=8).digest()
        random = uniform(int.from_bytes(digest, "little"), user_ids[1:].astype(np.int64))
        arms = np.searchsorted(np.cumsum(self.shares)[:-1], random, side="right")
        return np.r_[-1, arms] == np.arange(len(self.arms))[:, None]


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
