"""The shop of notebook 06: a planted world, its models, a version of them, and a request's way."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.planted import PlantedConfig, PlantedWorld, planted_interests
from mindlib.data.splits import Cases, Split, leave_last_out
from mindlib.evaluation import Estimate, compare
from mindlib.layers.routing import RoutingConfig
from mindlib.models.mind import MIND, MINDConfig
from mindlib.online.ranking import (
    DIN,
    CandidateScorer,
    DINConfig,
    DINRanker,
    RankingConfig,
    RankingQuality,
    auc_by_group,
    build_candidate_lists,
    evaluate_ranker,
    fit_ranker,
)
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.config import Timeouts
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.slate import Slate
from mindlib.online.serving.stages import Candidates, CategoryShare, Reranker
from mindlib.online.serving.store import SqliteStore
from mindlib.retrieval import Recommender
from mindlib.training import TrainingConfig, fit

# 1,600 items: a thousand candidates are most of them, but not all.
WORLD = PlantedConfig(num_clusters=40, items_per_cluster=40, max_interests=5)
MODEL = MINDConfig(
    dim=16, hidden=(32,), history_length=30, routing=RoutingConfig(max_interests=5)
)  # fmt: skip
TRAINING = TrainingConfig.paper(
    epochs=6, batch_size=256, negatives=128, learning_rate=2e-2, schedule="cosine",
    monitor="Recall@50",
)  # fmt: skip
RANKER = DINConfig(dim=16, activation_units=16, hidden=(32, 16), history_length=30)
RANKING = RankingConfig(epochs=3, batch_size=128)
# Whatever else the machine does, nothing is late in the notebook but what is made late.
PATIENT = Timeouts(store=20.0, extract=20.0, recall=20.0, rank=20.0, rerank=20.0)
CANDIDATES = 1000
BOTH = "extract + recall"


@dataclass(frozen=True)
class Shop:
    """A world, both models of it, and the version that was written of them.

    Attributes:
        bundle: read back from its folder.
        store: seeded with the whole log.
    """

    world: PlantedWorld
    split: Split
    model: MIND
    din: DIN
    bundle: Bundle
    store: SqliteStore


def open_shop(folder: Path, users: int, *, seed: int = 0) -> Shop:
    """Train MIND and DIN on a planted world, write a version, and seed a behaviour store.

    DIN's item table begins as a copy of MIND's, which has learnt by then what goes with what.

    Args:
        folder: for the version and for the store's file.
        users: of the world.
    """
    world = planted_interests(replace(WORLD, num_users=users), seed=seed)
    split = leave_last_out(world.log)
    generator = torch.Generator().manual_seed(seed)
    model = MIND(split.log, MODEL, generator=generator)
    fit(model, split, TRAINING, device="cpu", progress=False)
    din = DIN(copy.deepcopy(model.items), RANKER, generator=generator)
    fit_ranker(din, split, model, RANKING, progress=False)
    version = Bundle.write(
        folder / "monday",
        version="monday",
        model=model,
        log=split.log,
        counts=split.train_counts,
        ranker=DINRanker.from_model(din, split.log),
        category="department",
    )
    store = SqliteStore(folder / "store.sqlite")
    store.import_log(split.log)
    return Shop(world, split, model, din, Bundle.load(version), store)


class Walk(NamedTuple):
    """What each stage has made of one user's past.

    Attributes:
        interests: V_u.
        candidates: recall's, in its order.
        shown: what the rule lets through of it.
    """

    interests: Float[Tensor, "interests dim"]
    candidates: Candidates
    shown: Candidates


def walk(
    bundle: Bundle,
    behaviors: Int[np.ndarray, " length"],
    profile: Int[np.ndarray, " fields"],
    n: int,
    *,
    candidates: int = CANDIDATES,
    rule: Reranker | None = None,
) -> Walk:
    """The stages one after another, without timeouts, threads or fallbacks.

    Args:
        behaviors: in the version's numbers, at least one.
        n: places of the list.
        rule: the platform's, if it is not given.

    Raises:
        ValueError: the version has no ranker.
    """
    if bundle.ranker is None:
        raise ValueError(f"version {bundle.version!r} has no ranker: write it with one")
    interests = bundle.extract(behaviors, profile)
    found = bundle.recall(interests, behaviors, candidates)
    scores = bundle.ranker.score(behaviors, found.items)
    best = np.argsort(-scores, kind="stable")
    ranked = Candidates(found.items[best], scores[best], found.interests[best])
    shown = (rule or CategoryShare()).rerank(ranked, behaviors, bundle.metadata.categories, n)
    return Walk(interests, found, shown)


def stage_times(
    platform: PersonalityPlatform, users: Sequence[str], n: int
) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile of each stage, in milliseconds, of a request for each user.

    `BOTH` is the sum of two, request by request: for these the paper has less than 15 ms.
    """
    answers = [platform.recommend(user, n).milliseconds for user in users]
    taken = {stage: [a[stage] for a in answers] for stage in answers[0]}
    taken[BOTH] = [a["extract"] + a["recall"] for a in answers]
    return {
        stage: (float(np.percentile(row, 50)), float(np.percentile(row, 99)))
        for stage, row in taken.items()
    }


def told(answer: Slate) -> str:
    """What an answer says about how it came about, in a line."""
    notes = [f"{f.stage} {f.reason} → {f.fallback}" for f in answer.fallbacks]
    return "; ".join(notes) or "nothing was replaced"


class Judged(NamedTuple):
    """A scorer on the lists of the test.

    Attributes:
        quality: AUC and GAUC.
        lead: of its AUC_u over the first scorer's, user by user, each user counting once.
    """

    quality: RankingQuality
    lead: Estimate


def judge_rankers(
    scorers: Mapping[str, CandidateScorer],
    cases: Cases,
    recall: Recommender,
    n: int = CANDIDATES,
) -> dict[str, Judged]:
    """Judge scorers on the same lists, which matching has found for held-out users.

    Args:
        scorers: by name; the first one is what the others are compared with.
        n: candidates of a list.
    """
    lists = build_candidate_lists(cases, recall, n)
    shown = lists.items > 0
    labels = lists.labels[shown].numpy()
    users = lists.histories.users[:, None].expand_as(lists.items)[shown].numpy()
    found: dict[str, Judged] = {}
    first: Tensor | None = None
    for name, scorer in scorers.items():
        scores = scorer.score_lists(lists.histories, lists.items)[shown].double().numpy()
        own = torch.from_numpy(auc_by_group(labels, scores, users)[0])
        first = own if first is None else first
        found[name] = Judged(evaluate_ranker(scorer, lists), compare(own, first))
    return found


@dataclass(frozen=True)
class Visitor:
    """One user of the shop, and what she may click on.

    Attributes:
        past, profile: hers, in the version's numbers.
        own: the clusters of her true interests.
        clusters: of each item, -1 for padding.
        popular: the items of each cluster, the most frequent first, without her own.
    """

    past: Int[np.ndarray, " length"]
    profile: Int[np.ndarray, " fields"]
    own: tuple[int, ...]
    clusters: Int[np.ndarray, " items"]
    popular: Mapping[int, Int[np.ndarray, " members"]]


def visitor(split: Split, world: PlantedWorld, user: int) -> Visitor:
    """A user of the world, by her contiguous number."""
    log = split.log
    past = log.items[log.users == user]
    popular = {}
    for cluster in range(world.interests.shape[1]):
        members = np.setdiff1d(np.flatnonzero(world.item_clusters == cluster), past)
        popular[cluster] = members[np.argsort(-split.train_counts[members], kind="stable")]
    codes = log.profiles.codes[user] if log.profiles else np.zeros(0, dtype=np.int64)
    own = tuple(int(c) for c in np.flatnonzero(world.interests[user]))
    return Visitor(past, codes, own, world.item_clusters, popular)


def after_clicks(bundle: Bundle, of: Visitor, cluster: int, clicks: int, n: int = 20) -> Walk:
    """What the stages make of a past with so many clicks on a cluster's items behind it."""
    behaviors = np.concatenate([of.past, of.popular[cluster][:clicks]])
    return walk(bundle, behaviors, of.profile, n)
