"""The effect of further clicks on a user's interests (§3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from mindlib.data import Cases, Histories, Split
from mindlib.lessons.common.films import genre_matrix
from mindlib.models import MIND


class Turn(NamedTuple):
    """An interest after some clicks.

    Attributes:
        before, after: its numbers before, None if it is new, and after; they may differ.
        degrees: the angle between the two vectors; NaN if it is new.
    """

    before: int | None
    after: int
    degrees: float


def match_interests(
    before: Float[Tensor, "before dim"], after: Float[Tensor, "after dim"]
) -> list[Turn]:
    """Match the active interests before and after by the largest sum of cosines."""
    cosine = (F.normalize(before, dim=1) @ F.normalize(after, dim=1).T).double()
    rows, columns = linear_sum_assignment(-cosine.numpy())
    old = dict(zip(columns.tolist(), rows.tolist(), strict=True))
    angles = cosine.clamp(-1, 1).acos().rad2deg()
    return [
        Turn(old[k], k, float(angles[old[k], k])) if k in old else Turn(None, k, float("nan"))
        for k in range(len(after))
    ]


class State(NamedTuple):
    """A user's active interests after some clicks, and their coupling to the behaviors."""

    vectors: Float[Tensor, "interests dim"]
    coupling: Float[Tensor, "interests behaviors"]


@dataclass(frozen=True)
class Viewer:
    """A user, and the films that they may click.

    Attributes:
        model: computes the user's interests.
        past: the ids of the user's films, oldest first.
        profile: the codes of the user's profile.
        offered: for each genre its most frequent films that the user has not seen.
    """

    model: MIND
    past: list[int]
    profile: list[int]
    offered: dict[str, list[int]]

    def after(self, genre: str, clicks: int) -> State:
        """Compute the interests after so many clicks on films of a genre."""
        behaviors = [*self.past, *self.offered[genre][:clicks]]
        interests = self.model.encode_histories(Histories.from_lists([behaviors], [self.profile]))
        active, coupling = interests.active[0], interests.coupling
        assert coupling is not None
        return State(interests.vectors[0, active], coupling[0, active, : len(behaviors)])


def make_viewer(model: MIND, split: Split, case: int, genres: tuple[str, ...]) -> Viewer:
    """Make the user of one test case, to whom films of some genres are offered."""
    histories, (has, names) = split.test.histories, genre_matrix(split.log)
    past = histories.items[histories.starts[case] : histories.ends[case]].tolist()
    by_count = np.argsort(-split.train_counts, kind="stable")
    offered = {
        genre: [int(f) for f in by_count if has[f, names.index(genre)] and f not in past][:10]
        for genre in genres
    }
    return Viewer(model, past, histories.profiles[histories.users[case]].tolist(), offered)


def turns_of_next_click(
    model: MIND, cases: Cases, most: int, lengths: tuple[int, int]
) -> Float[np.ndarray, "cases interests"]:
    """Add the next film of each case, and return the angles of its interests, the largest first.

    Args:
        model: computes the interests.
        cases: the histories, and the films that came next.
        most: the number of cases.
        lengths: the shortest and the longest history; K'_u must be the same with one film more.
    """
    histories, (low, high) = cases.histories, lengths
    chosen = ((histories.lengths >= low) & (histories.lengths <= high)).nonzero()[:most, 0]
    pasts = [histories.items[histories.starts[c] : histories.ends[c]].tolist() for c in chosen]
    profiles = histories.profiles[histories.users[chosen]].tolist()
    clicked = cases.targets[cases.offsets[chosen]].tolist()
    longer = [[*past, film] for past, film in zip(pasts, clicked, strict=True)]
    before, active = model.interests(Histories.from_lists(pasts, profiles))
    after, still_active = model.interests(Histories.from_lists(longer, profiles))
    assert torch.equal(active, still_active)
    return np.array(
        [
            sorted((t.degrees for t in match_interests(b[a], c[a])), reverse=True)
            for b, c, a in zip(before, after, active, strict=True)
        ]
    )
