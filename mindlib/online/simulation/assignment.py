"""Assignment of users to arms by a hash of the user id, without a table of assignments."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from mindlib.data.option_types import check_options
from mindlib.online.simulation.hashing import hash_name, uniform


@dataclass(frozen=True)
class Experiment:
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
        check_options(self)
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

    def assign(self, users: Int[np.ndarray, " users"]) -> Int[np.ndarray, " users"]:
        """Return the index of each user's arm.

        Args:
            users: ids that do not change when the log grows (`Interactions.user_ids` has them; the
                contiguous ids are renumbered with every new user).
        """
        ends = np.cumsum(self.shares)[:-1]
        return np.searchsorted(ends, uniform(hash_name(self.name), users), side="right")

    def members(self, user_ids: np.ndarray) -> Bool[np.ndarray, "arms users_plus_one"]:
        """Return which users each arm has: every user is in one arm, and padding in none.

        Args:
            user_ids: `Interactions.user_ids`; entry 0 is padding.

        Raises:
            ValueError: the ids are not whole numbers.
        """
        kinds = {type(user) for user in user_ids[1:]}
        if not all(issubclass(kind, int | np.integer) for kind in kinds):
            raise ValueError(
                f"user ids of type {', '.join(sorted(kind.__name__ for kind in kinds))}: expected "
                f"whole numbers, since their value is hashed"
            )
        arms = np.r_[-1, self.assign(user_ids[1:].astype(np.int64))]
        return arms == np.arange(len(self.arms))[:, None]
