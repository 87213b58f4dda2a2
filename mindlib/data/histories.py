"""Behaviours of many users as windows on one flat log: gathered for a batch, never copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class History:
    """A batch of behaviours, I_u, with the profiles, P_u (§3.1).

    Attributes:
        items: the last behaviours, oldest first; unused places at the end hold 0.
        mask: True where there is a behaviour.
        profile: codes of the profile fields (no columns if the data have no profiles).
    """

    items: Int[Tensor, "batch length"]
    mask: Bool[Tensor, "batch length"]
    profile: Int[Tensor, "batch fields"]


@dataclass(frozen=True)
class Histories:
    """The pasts of many users, each a slice `starts[n]:ends[n]` of the same flat log.

    Attributes:
        items: the flat log, shared by all (and by the samples of training).
        starts, ends: where each past begins and ends (exclusive).
        users: whose past it is; 0 for a user that the log does not know.
        profiles: codes of the profile fields, a row for each user.
    """

    items: Int[Tensor, " events"]
    starts: Int[Tensor, " cases"]
    ends: Int[Tensor, " cases"]
    users: Int[Tensor, " cases"]
    profiles: Int[Tensor, "users fields"]

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> Int[Tensor, " cases"]:
        """The number of behaviours of each past, |I_u|."""
        return self.ends - self.starts

    def select(self, rows: Int[Tensor, " rows"] | slice) -> Histories:
        """Some of the pasts, in the order of `rows`."""
        return replace(self, starts=self.starts[rows], ends=self.ends[rows], users=self.users[rows])

    def to(self, device: torch.device | str) -> Histories:
        """The same on another device."""
        return Histories(*(value.to(device) for value in vars(self).values()))

    def window(self, length: int) -> History:
        """The last `length` behaviours of every past, in one gather.

        Args:
            length: L, at least 1.
        """
        if length < 1:
            raise ValueError(f"length={length}: a window needs at least one place")
        first = torch.maximum(self.starts, self.ends - length)
        places = first[:, None] + torch.arange(length, device=first.device)
        mask = places < self.ends[:, None]
        last = max(len(self.items) - 1, 0)
        items = self.items[places.clamp_(max=last)].masked_fill_(~mask, 0)
        return History(items, mask, self.profiles[self.users])

    def pairs(self) -> tuple[Int[Tensor, " events"], Int[Tensor, " events"]]:
        """Every behaviour of every past, however long: (number of the past, item).

        This is what exclusion from a recommendation list needs; a window would miss the oldest.
        """
        lengths = self.lengths
        rows = torch.repeat_interleave(torch.arange(len(self), device=lengths.device), lengths)
        shift = self.starts - (torch.cumsum(lengths, 0) - lengths)
        places = torch.arange(len(rows), device=lengths.device) + shift[rows]
        return rows, self.items[places]

    @staticmethod
    def from_lists(
        behaviors: Sequence[Sequence[int]], profiles: Sequence[Sequence[int]] | None = None
    ) -> Histories:
        """Pasts from plain lists of item ids, oldest first, for use outside a log.

        Args:
            behaviors: the items of each user; ids are 1..num_items.
            profiles: the codes of each user's profile fields.

        Raises:
            ValueError: an id is below 1, or the two arguments differ in length.
        """
        flat = [item for past in behaviors for item in past]
        if flat and min(flat) < 1:
            raise ValueError(f"item id {min(flat)}: ids start at 1 (0 is padding)")
        if profiles is not None and len(profiles) != len(behaviors):
            raise ValueError(
                f"{len(profiles)} profiles for {len(behaviors)} users; give one for each"
            )
        ends = torch.tensor([len(past) for past in behaviors], dtype=torch.int64).cumsum(0)
        starts = torch.cat([ends.new_zeros(1), ends])[: len(behaviors)]
        known = torch.zeros((len(behaviors) + 1, 0), dtype=torch.int64)
        if profiles:
            codes = torch.tensor(profiles, dtype=torch.int64)
            known = torch.cat([codes.new_zeros((1, codes.shape[1])), codes])
        # An empty flat log would leave nothing to gather from.
        items = torch.tensor(flat or [0], dtype=torch.int64)
        return Histories(items, starts, ends, torch.arange(1, len(behaviors) + 1), known)
