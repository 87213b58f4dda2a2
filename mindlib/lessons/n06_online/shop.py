"""The film shop of notebook 06: a ranker for MIND's candidates, a version, and a platform."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mindlib.data import Split
from mindlib.evaluation import Estimate, mean_estimate
from mindlib.models import MIND
from mindlib.online.ranking.din import DIN, DINConfig
from mindlib.online.ranking.lists import (
    RankingQuality,
    TwoTower,
    build_candidate_lists,
    evaluate_ranker,
)
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.ranking.training import RankingConfig, fit_ranker
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.stages import PlatformConfig, Timeouts
from mindlib.online.serving.store import SqliteStore

CANDIDATES = 200  # films that recall passes to the ranker
RANKER = DINConfig(dim=64, activation_units=8, hidden=(32,), history_length=20)
RANKING = RankingConfig(epochs=5, candidates=CANDIDATES, learning_rate=2e-3)
RANKED = 15  # DIN is trained on every 15th user, which takes seconds instead of minutes
VALIDATION = 200  # users on whose lists the ranker's epoch is chosen
# A notebook shares its machine with other programs: nothing may be late by accident.
PATIENT = Timeouts(store=20.0, extract=20.0, recall=20.0, rank=20.0, rerank=20.0)


@dataclass(frozen=True)
class Shop:
    """A version of the models, read back from its folder, and a store with some users.

    Attributes:
        din: the ranker as it was trained; the bundle has a copy for serving.
        users: the original ids of the store's users, the example user first.
    """

    bundle: Bundle
    store: SqliteStore
    din: DIN
    users: tuple[str, ...]

    def platform(self, timeouts: Timeouts = PATIENT) -> PersonalityPlatform:
        """Start a platform with this version."""
        config = PlatformConfig(max_candidates=CANDIDATES, timeouts=timeouts)
        return PersonalityPlatform(self.store, self.bundle, config)


def open_shop(
    folder: Path, split: Split, model: MIND, case: int, resources: ExitStack, *, seed: int
) -> Shop:
    """Train DIN on MIND's candidates, write a version, and fill a behavior store.

    The store has the histories of the test cases: the film that came next is left out.

    Args:
        case: the test case of the example user; the next 199 users are stored as well.
    """
    log = split.log
    generator = torch.Generator().manual_seed(seed)
    din = DIN(copy.deepcopy(model.items), RANKER, generator=generator)
    ranked = replace(
        split,
        train_events=split.train_events & (log.users % RANKED == 0),
        validation=split.validation[:VALIDATION],
    )
    fit_ranker(din, ranked, model, replace(RANKING, seed=seed), progress=False)
    version = Bundle.write(
        folder / "monday",
        version="monday",
        model=model,
        log=log,
        counts=split.train_counts,
        ranker=DINRanker.from_model(din, log),
    )
    first = int(split.test.histories.users[case])
    numbers = (first - 1 + np.arange(min(200, log.num_users))) % log.num_users + 1
    last_step = np.r_[0, log.step_starts(log.offsets[2:] - 1)]  # of each user
    kept = np.isin(log.users, numbers) & (np.arange(len(log)) < last_step[log.users])
    store = SqliteStore(folder / "store.sqlite")
    resources.callback(store.close)
    store.import_log(log.select(kept))
    users = tuple(str(log.user_ids[number]) for number in numbers)
    return Shop(Bundle.load(version), store, din, users)


def compare_rankers(
    shop: Shop, split: Split, model: MIND, users: int
) -> tuple[dict[str, RankingQuality], Estimate]:
    """Evaluate recall's order and DIN's on the same lists of held-out users.

    Returns:
        The quality of both, and the mean difference of AUC_u, DIN minus recall.
    """
    lists = build_candidate_lists(split.test[:users], model, CANDIDATES)
    scorers = {"recall (inner product)": TwoTower(model), "DIN": shop.din}
    qualities = {name: evaluate_ranker(scorer, lists) for name, scorer in scorers.items()}
    recalled, ranked = (quality.areas for quality in qualities.values())
    return qualities, mean_estimate(ranked - recalled)


def time_stages(platform: PersonalityPlatform, users: Sequence[str], n: int) -> dict[str, float]:
    """Return the median duration of each stage in milliseconds, over a request of each user."""
    taken = [platform.recommend(user, n).milliseconds for user in users]
    return {stage: float(np.median([times[stage] for times in taken])) for stage in taken[0]}
