"""The online week (§4.3): retrieve, rank, show, click; tomorrow's behaviours have the clicks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int

from mindlib.data.histories import Histories
from mindlib.data.interactions import Interactions
from mindlib.online.ranking import CandidateScorer, Reranked
from mindlib.online.simulation.clicks import Traffic
from mindlib.retrieval import InterestModel, Recommender


@dataclass(frozen=True)
class PageConfig:
    """What a request goes through.

    Attributes:
        candidates: retrieved for the ranker; 1,000 in §4.3.
        part: but at most this part of the catalogue: a thousand of a small world would be all of
            it, and then no arm differs from another (see `mindlib.online.simulation.worlds`).
        shown: places of the page.
    """

    candidates: int = 1000
    part: float = 0.02
    shown: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.shown <= self.candidates:
            raise ValueError(
                f"shown={self.shown}, candidates={self.candidates}: expected 1 <= shown <= "
                f"candidates"
            )
        if not 0 < self.part <= 1:
            raise ValueError(f"part={self.part}: expected above 0, at most 1 (the catalogue)")

    def retrieved(self, num_items: int) -> int:
        """How many candidates an arm retrieves from a catalogue.

        Raises:
            ValueError: they would not fill the page.
        """
        n = min(self.candidates, int(self.part * num_items))
        if n < self.shown:
            raise ValueError(
                f"part={self.part} of {num_items} items are {n} candidates for shown={self.shown} "
                f"places; raise part, or show fewer"
            )
        return n


@dataclass(frozen=True)
class Behaviors:
    """The pasts of all users, as they grow.

    Attributes:
        users, items: the events, sorted by user and then by time.
        profiles: codes of the profile fields, a row for each user.
    """

    users: Int[np.ndarray, " events"]
    items: Int[np.ndarray, " events"]
    profiles: Int[np.ndarray, "users_plus_one fields"]

    @staticmethod
    def of(log: Interactions, users: Bool[np.ndarray, " users_plus_one"]) -> Behaviors:
        """What a log has of some users."""
        codes = log.profiles.codes if log.profiles else np.zeros((log.num_users + 1, 0), np.int64)
        there = users[log.users]
        return Behaviors(log.users[there], log.items[there], codes)

    def append(
        self, users: Int[np.ndarray, " clicks"], items: Int[np.ndarray, " clicks"]
    ) -> Behaviors:
        """With the clicks behind each user's past, in the order given."""
        every = np.concatenate([self.users, users])
        order = np.argsort(every, kind="stable")
        return Behaviors(every[order], np.concatenate([self.items, items])[order], self.profiles)

    def histories(self, users: Int[np.ndarray, " requests"]) -> Histories:
        """The whole pasts of some users."""
        return Histories(
            items=torch.from_numpy(self.items),
            starts=torch.from_numpy(np.searchsorted(self.users, users)),
            ends=torch.from_numpy(np.searchsorted(self.users, users, side="right")),
            users=torch.from_numpy(users),
            profiles=torch.from_numpy(self.profiles),
        )


@dataclass(frozen=True)
class Week:
    """What was counted: for each arm, day and user (row 0 is padding).

    Attributes:
        arms: their names.
        members: which users an arm had. One arm a user in an A/B test; every user in every arm
            where the simulation plays each week again with each arm.
        impressions: products shown.
        clicks: those of them that were clicked.
        searches: of the index; an arm that searches no vectors has none.
        requests: pages shown, at most one a day.
    """

    arms: tuple[str, ...]
    members: Bool[np.ndarray, "arms users"]
    impressions: Int[np.ndarray, "arms days users"]
    clicks: Int[np.ndarray, "arms days users"]
    searches: Int[np.ndarray, "arms days users"]

    @property
    def requests(self) -> Bool[np.ndarray, "arms days users"]:
        return self.impressions > 0


def run_week(
    traffic: Traffic,
    arms: Mapping[str, Recommender],
    ranker: CandidateScorer,
    page: PageConfig | None = None,
    *,
    members: Bool[np.ndarray, "arms users"],
) -> Week:
    """Seven days with fixed models.

    Args:
        arms: retrieve candidates, never what the user has already had or clicked.
        ranker: orders them, the same for all arms.
        members: which users (row 0 is padding) each arm has. `Experiment.members` gives each user
            one arm, as in a real test. All of them True plays the same week once with each arm for
            every user, which only a simulation can: the same people come on the same days after
            the same things with the same luck.

    Raises:
        ValueError: no arm, or `members` has other arms or users.
    """
    page = page or PageConfig()
    log = traffic.world.log
    days, users = traffic.visits.shape
    if not arms:
        raise ValueError("no arm: expected at least one recommender")
    if members.shape != (len(arms), users):
        raise ValueError(
            f"members has the shape {members.shape}: expected {(len(arms), users)}, a row for each "
            f"arm and a column for each user and padding"
        )
    members = members.copy()
    members[:, 0] = False
    impressions, clicks, searches = (
        np.zeros((len(arms), days, users), dtype=np.int64) for _ in range(3)
    )
    for arm, recommender in enumerate(arms.values()):
        whole = pages(recommender, ranker, page, log.num_items)
        behaviors = Behaviors.of(log, members[arm])
        for day in range(days):
            here = np.flatnonzero(members[arm] & traffic.visits[day])
            if not len(here):
                continue
            histories = behaviors.histories(here)
            lists = whole.recommend(histories, page.shown).items.numpy()
            clicked = traffic.clicks(day, here, lists)
            impressions[arm, day, here] = (lists > 0).sum(1)
            clicks[arm, day, here] = clicked.sum(1)
            searches[arm, day, here] = count_searches(recommender, histories)
            rows, places = clicked.nonzero()
            behaviors = behaviors.append(here[rows], lists[rows, places])
    return Week(tuple(arms), members, impressions, clicks, searches)


def pages(
    recommender: Recommender, ranker: CandidateScorer | None, page: PageConfig, num_items: int
) -> Recommender:
    """What a page is taken from: an arm's candidates in the ranker's order (None: in its own).

    Raises:
        ValueError: the catalogue does not fill the page.
    """
    n = page.retrieved(num_items)
    return recommender if ranker is None else Reranked(recommender, ranker, num_items, n)


def count_searches(recommender: Recommender, histories: Histories) -> Int[np.ndarray, " users"]:
    """Searches of the index for each request: one for each active interest, none without."""
    if not isinstance(recommender, InterestModel):
        return np.zeros(len(histories), dtype=np.int64)
    return recommender.interests(histories)[1].sum(1).cpu().numpy()
