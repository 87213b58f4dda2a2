"""User histories as windows on one flat log: gathered for a batch, never copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class History:
    """A padded batch of behaviours, I_u, with the user profiles, P_u (§3.1).

    Attributes:
        items: the last behaviours, oldest first; unused positions at the end hold 0.
        mask: True where there is a behaviour.
        profile: codes of the profile fields (no columns if the data have no profiles).
    """

    items: Int[Tensor, "batch length"]
    mask: Bool[Tensor, "batch length"]
    profile: Int[Tensor, "batch fields"]

    def check_codes(self, num_items: int, sizes: Sequence[int] | None) -> None:
        """Refuse numbers for which a model would read the row of another item or profile field.

        Args:
            num_items: the number of items that the model knows.
            sizes: the number of codes of each profile field; None if the model uses none.

        Raises:
            ValueError: an item or a profile code is out of range, or a profile field is missing.
        """
        check_items(self.items, num_items)
        if sizes is None:
            return
        limits = torch.tensor(sizes, dtype=torch.int64, device=self.profile.device)
        if self.profile.shape[1] != len(sizes) or (self.profile >= limits).any():
            raise ValueError(
                f"profile codes {self.profile[:3].tolist()}: expected {len(sizes)} columns, each "
                f"below {tuple(sizes)}; encode them with Catalogue.encode_requests"
            )


def check_items(items: Int[Tensor, "*shape"], num_items: int) -> None:
    """Raise ValueError if an item is unknown to a model of `num_items` items."""
    if items.numel() and (largest := int(items.max())) > num_items:
        raise ValueError(
            f"item {largest}: the model has the items 1 to {num_items}; encode histories with "
            f"Catalogue.encode_requests, or leave the item out"
        )


@dataclass(frozen=True)
class Histories:
    """The histories of many users, each a slice `starts[n]:ends[n]` of the same flat log.

    Attributes:
        items: the flat log, shared by all histories (and by the samples of training).
        starts, ends: where each history begins and ends (exclusive).
        users: the user of each history; 0 for a user who is not in the log.
        profiles: codes of the profile fields, one row per user.
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
        """The number of behaviours of each history, |I_u|."""
        return self.ends - self.starts

    def select(self, rows: Int[Tensor, " rows"] | slice) -> Histories:
        """Select some of the histories, in the order of `rows`."""
        return replace(self, starts=self.starts[rows], ends=self.ends[rows], users=self.users[rows])

    def split(self, size: int) -> list[Histories]:
        """Divide the histories into parts of `size`, of which the last may be smaller.

        Without histories, there is one part, which is empty.
        """
        starts = range(0, max(len(self), 1), size)
        return [self.select(slice(start, start + size)) for start in starts]

    def to(self, device: torch.device | str) -> Histories:
        """Copy the histories to another device."""
        return Histories(*(value.to(device) for value in vars(self).values()))

    def window(self, length: int) -> History:
        """Gather the last `length` behaviours of every history: L, at least 1."""
        if length < 1:
            raise ValueError(f"length={length}: expected at least 1 position")
        first = torch.maximum(self.starts, self.ends - length)
        positions = first[:, None] + torch.arange(length, device=first.device)
        mask = positions < self.ends[:, None]
        last = max(len(self.items) - 1, 0)
        items = self.items[positions.clamp_(max=last)].masked_fill_(~mask, 0)
        return History(items, mask, self.profiles[self.users])

    def pairs(self) -> tuple[Int[Tensor, " events"], Int[Tensor, " events"]]:
        """List every behaviour of every history as (index of the history, item).

        Excluding a user's history from recommendations needs all of it; a window would miss the
        oldest behaviours.
        """
        lengths = self.lengths
        rows = torch.repeat_interleave(torch.arange(len(self), device=lengths.device), lengths)
        shift = self.starts - (torch.cumsum(lengths, 0) - lengths)
        positions = torch.arange(len(rows), device=lengths.device) + shift[rows]
        return rows, self.items[positions]

    @staticmethod
    def from_lists(
        behaviors: Sequence[Sequence[int]], profiles: Sequence[Sequence[int]] | None = None
    ) -> Histories:
        """Build histories from lists of item ids, oldest first, without a log.

        Args:
            behaviors: the items of each user; ids are 1..num_items.
            profiles: the codes of each user's profile fields.

        Raises:
            ValueError: an id is below 1, or the two arguments differ in length.
        """
        flat = [item for history in behaviors for item in history]
        if flat and min(flat) < 1:
            raise ValueError(f"item id {min(flat)}: expected at least 1 (0 is padding)")
        if profiles is not None and len(profiles) != len(behaviors):
            raise ValueError(
                f"{len(profiles)} profiles for {len(behaviors)} users; give one for each"
            )
        ends = torch.tensor([len(items) for items in behaviors], dtype=torch.int64).cumsum(0)
        starts = torch.cat([ends.new_zeros(1), ends])[: len(behaviors)]
        known = torch.zeros((len(behaviors) + 1, 0), dtype=torch.int64)
        if profiles:
            codes = torch.tensor(profiles, dtype=torch.int64)
            known = torch.cat([codes.new_zeros((1, codes.shape[1])), codes])
        # `window` cannot gather from an empty log.
        items = torch.tensor(flat or [0], dtype=torch.int64)
        return Histories(items, starts, ends, torch.arange(1, len(behaviors) + 1), known)
