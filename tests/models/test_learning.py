"""In the planted world each model learns, and several vectors find more interests than one."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from mindlib.data import Interactions, leave_last_out, planted_interests
from mindlib.evaluation import evaluate
from mindlib.models import (
    ComiRecDR,
    ComiRecDRConfig,
    ComiRecSA,
    ComiRecSAConfig,
    MaxMF,
    MaxMFConfig,
    Popularity,
    SASRec,
    SASRecConfig,
    VectorModel,
)
from mindlib.retrieval import Recommender
from mindlib.training import TrainingConfig, fit
from tests.models.compared import SMALL, WORLD
from tests.recovery import recovered_interests

pytestmark = pytest.mark.slow

TRAINING = TrainingConfig(
    epochs=8, batch_size=256, negatives=40, learning_rate=1e-2, monitor="Recall@10", patience=8
)


@cache
def world():
    return planted_interests(WORLD, seed=0)


@cache
def split():
    return leave_last_out(world().log)


def new(name: str, k: int) -> VectorModel:
    log, generator = world().log, torch.Generator().manual_seed(0)
    if name == "maxmf":
        return MaxMF(
            log, MaxMFConfig.paper(max_interests=k, hidden=(16,), **SMALL), generator=generator
        )
    if name == "comirec-sa":
        return ComiRecSA(log, ComiRecSAConfig.paper(max_interests=k, **SMALL), generator=generator)
    config = ComiRecDRConfig.paper(max_interests=k, hidden=(16,), **SMALL)
    return ComiRecDR(log, config, generator=generator)


@cache
def trained(name: str, k: int, **options: Any) -> VectorModel:
    model = new(name, k)
    fit(model, split(), replace(TRAINING, **options), device="cpu", progress=False)
    return model


def hit_rate(recommender: Recommender) -> float:
    return evaluate(recommender, split().test, (10,)).means()["HitRate@10"]


def recovered(model: VectorModel) -> float:
    return float(recovered_interests(model, world(), split().test.histories, nearest=5).mean())


@pytest.mark.parametrize(("name", "k"), [("maxmf", 1), ("comirec-sa", 1), ("comirec-sa", 4)])
def test_it_beats_popularity(name, k):
    assert hit_rate(trained(name, k)) > 1.4 * hit_rate(Popularity(split().train_counts))


@pytest.mark.parametrize("name", ["maxmf", "comirec-sa", "comirec-dr"])
def test_four_vectors_find_more_of_the_planted_interests_than_one(name):
    assert recovered(trained(name, 4)) > recovered(trained(name, 1)) + 0.1


def test_trained_as_it_is_served_maxmf_recommends_better_than_by_eq_10():
    """Eq. 10 lets four vectors that hardly depend on the user share the catalogue."""
    model, by_label = trained("maxmf", 4), trained("maxmf", 4, loss="label")
    assert hit_rate(model) > 1.3 * hit_rate(by_label)
    assert hit_rate(model) > 1.4 * hit_rate(Popularity(split().train_counts))


def test_sasrec_learns_what_follows_what():
    """A walk in which four of five items follow the one before, and all are equally popular."""
    rng = np.random.default_rng(0)
    users, length, items = 400, 8, 40
    walk = np.empty((users, length), dtype=np.int64)
    walk[:, 0] = rng.integers(items, size=users)
    for step in range(1, length):
        follows = rng.random(users) < 0.8
        walk[:, step] = np.where(follows, walk[:, step - 1] + 7, rng.integers(items, size=users))
        walk[:, step] %= items
    log = Interactions.from_frames(
        pl.DataFrame(
            {
                "user": np.repeat(np.arange(users), length),
                "item": walk.ravel(),
                "timestamp": np.tile(np.arange(length), users),
            }
        )
    )
    steps = leave_last_out(log)
    generator = torch.Generator().manual_seed(0)
    model = SASRec(log, SASRecConfig.paper(layers=1, dropout=0.1, **SMALL), generator=generator)
    once = replace(TRAINING, epochs=10, batch_size=128, monitor="Recall@1", exclude_history=False)
    fit(model, steps, once, device="cpu", progress=False)
    found = evaluate(model, steps.test, (1,), exclude_history=False).means()["HitRate@1"]
    assert found > 0.65
