"""The online week (§4.3): retrieve, rank, show, click; clicks extend the next day's history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.option_types import AT_LEAST_0, Options
from mindlib.data.planted import PlantedWorld
from mindlib.online.ranking.lists import CandidateScorer, Reranked
from mindlib.online.simulation.assignment import uniform
from mindlib.online.simulation.clicks import Traffic
from mindlib.retrieval import InterestModel, Recommender

HISTORY_LENGTH = 50  # number of most recent behaviours that count
SMOOTHING = 1.0  # pseudo-count, distributed over all clusters
SEED = 0  # of the noise


@dataclass(frozen=True)
class PlantedRanker(Options):
    """A stand-in for DIN that has the true item distribution but must infer the user's interests.

    The score of an item is the logarithm of its probability as the next event, given the history,

        log(smoothed share of recent behaviours in its cluster) + log P(item | cluster),

    plus Gaussian noise that is a function of (user, item) and therefore the same in every arm. A
    click counts from the next request on, and no arm's geometry is favoured.

    Attributes:
        noise: standard deviation of the noise; 1 is a factor of e on the probability.
    """

    world: PlantedWorld
    noise: Annotated[float, AT_LEAST_0] = 1.0

    def score_lists(
        self, histories: Histories, items: Int[Tensor, "users n"]
    ) -> Float[Tensor, "users n"]:
        """Return noisy log-probabilities (a `CandidateScorer`, as DIN is)."""
        world, clusters = self.world, self.world.interests.shape[1]
        history = histories.window(HISTORY_LENGTH)
        cluster_of = torch.from_numpy(world.item_clusters)
        counts = torch.zeros((len(histories), clusters), dtype=torch.float64)
        seen = cluster_of[history.items].clamp(min=0)
        counts.scatter_add_(1, seen, history.mask.to(torch.float64))
        total = counts.sum(1, keepdim=True) + SMOOTHING
        share = (counts + SMOOTHING / clusters) / total
        within = torch.from_numpy(world.probabilities.max(0)).clamp(min=1e-12)
        probability = share.gather(1, cluster_of[items].clamp(min=0)) * within[items]
        random = uniform(SEED, histories.users.numpy()[:, None], items.numpy())
        noise = torch.special.ndtri(torch.from_numpy(random).clamp(min=2.0**-54))
        return probability.log() + self.noise * noise


@dataclass(frozen=True)
class SlateConfig(Options):
    """Sizes of the stages of a request.

    Attributes:
        candidates: number retrieved for the ranker; 1,000 in §4.3. A small share of the catalogue.
        length: number of positions of the slate.
    """

    candidates: int = 1000
    length: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.length <= self.candidates:
            raise ValueError(
                f"length={self.length}, candidates={self.candidates}: expected 1 <= length <= "
                f"candidates"
            )


@dataclass(frozen=True)
class Week:
    """Counts for each arm, day and user (user 0 is padding).

    Attributes:
        arms: their names.
        members: which users an arm had.
        impressions, clicks: items shown and clicked.
        searches: searches of the index; 0 for an arm that searches no vectors.
        requests: slates shown, at most one a day.
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
    slate: SlateConfig | None = None,
    *,
    members: Bool[np.ndarray, "arms users"],
) -> Week:
    """Simulate the days of an experiment with fixed models.

    Args:
        arms: retrieve candidates, never items of the user's history.
        ranker: orders the candidates, the same for all arms.
        members: which users (row 0 is padding) each arm has: one arm a user in a real test
            (`Experiment.members`). If all are True, every user has the same week with each arm.

    Raises:
        ValueError: no arm, or `members` has other arms or users.
    """
    slate = slate or SlateConfig()
    log = traffic.world.log
    days, users = traffic.visits.shape
    if not arms:
        raise ValueError("arms is empty: expected at least one recommender")
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
    codes = log.profiles.codes if log.profiles else np.zeros((users, 0), np.int64)
    for arm, recommender in enumerate(arms.values()):
        pipeline = Reranked(recommender, ranker, log.num_items, slate.candidates)
        events = members[arm][log.users]
        owners, items = log.users[events], log.items[events]  # sorted by user, then by time
        for day in range(days):
            visitors = np.flatnonzero(members[arm] & traffic.visits[day])
            if not len(visitors):
                continue
            histories = Histories(
                items=torch.from_numpy(items),
                starts=torch.from_numpy(np.searchsorted(owners, visitors)),
                ends=torch.from_numpy(np.searchsorted(owners, visitors, side="right")),
                users=torch.from_numpy(visitors),
                profiles=torch.from_numpy(codes),
            )
            slates = pipeline.recommend(histories, slate.length).items.numpy()
            clicked = traffic.clicks(day, visitors, slates)
            impressions[arm, day, visitors] = (slates > 0).sum(1)
            clicks[arm, day, visitors] = clicked.sum(1)
            if isinstance(recommender, InterestModel):  # one search for each active interest
                searches[arm, day, visitors] = recommender.interests(histories)[1].sum(1).numpy()
            rows, positions = clicked.nonzero()
            owners = np.concatenate([owners, visitors[rows]])
            order = np.argsort(owners, kind="stable")  # clicks follow their user's earlier events
            owners, items = owners[order], np.concatenate([items, slates[rows, positions]])[order]
    return Week(tuple(arms), members, impressions, clicks, searches)
