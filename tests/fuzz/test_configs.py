"""Whatever value a field of a configuration gets, it is refused, or what it configures works."""

import dataclasses
import math
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mindlib.models
from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.models import (
    MIND,
    WALS,
    ItemCF,
    MINDConfig,
    Popularity,
    VectorModel,
    YouTubeDNN,
    YouTubeDNNConfig,
)
from mindlib.models.vector_model import MultiInterestConfig, VectorConfig
from mindlib.online.ranking.din import DIN, DINConfig
from mindlib.online.ranking.training import fit_ranker
from mindlib.online.simulation.clicks import Traffic
from mindlib.retrieval.faiss import FaissIndex
from mindlib.training import TrainingConfig, fit
from tests.conftest import unchecked
from tests.option_classes import option_classes

pytestmark = pytest.mark.slow

LIBRARY = Path(mindlib.__file__).parent
SMALL_WORLD = {"num_users": 30, "num_clusters": 3, "items_per_cluster": 5, "num_segments": 2}
WORLD = planted_interests(PlantedConfig(**SMALL_WORLD, max_interests=2, events=(4, 8)), seed=0)
SPLIT = leave_last_out(WORLD.log)
SHAPE: dict[str, Any] = {"dim": 4, "hidden": (4,), "history_length": 4}
SHORT = {"epochs": 1, "batch_size": 64, "negatives": 4, "monitor": "Recall@5"}
CLASSES = option_classes()
MODELS: dict[type, type[VectorModel]] = {
    model.config_class: model
    for model in vars(mindlib.models).values()
    if isinstance(model, type) and issubclass(model, VectorModel) and model is not VectorModel
}

# What a class needs to be small here, or to exist at all.
BASE: dict[str, dict[str, Any]] = {
    **{config.__name__: SHAPE for config in MODELS},
    "ArmsConfig": {**SHAPE, "interests": (1, 2)},
    "DINConfig": {**SHAPE, "activation_units": 4},
    "Experiment": {"name": "test", "arms": ("a", "b")},
    "MilvusConfig": {"uri": "items.db"},
    "PlantedConfig": {**SMALL_WORLD, "max_interests": 2, "events": (4, 8)},
    "PlantedRanker": {"world": WORLD},
    "RankingConfig": {"epochs": 1, "batch_size": 64, "candidates": 8},
    "TrainingConfig": SHORT,
    "Trial": {"name": "trial", "model": Popularity},
}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def assert_recommends(model: Any) -> None:
    """The lists have finite scores, and no NaN where there are no more items."""
    found = model.recommend(SPLIT.test.histories, 3)
    assert not found.scores.isnan().any()
    assert found.scores[found.items > 0].isfinite().all()


def train(model: VectorModel, training: Any = None) -> None:
    fit(model, SPLIT, training or TrainingConfig(**SHORT), device="cpu", progress=False)
    assert_recommends(model)


def rank(config: Any) -> None:
    din = DIN.from_log(SPLIT.log, DINConfig(**BASE["DINConfig"]), generator=generator())
    done = fit_ranker(din, SPLIT, Popularity(SPLIT.train_counts), config, progress=False)
    assert math.isfinite(done.log[-1].loss)


def score(config: Any) -> None:
    din = DIN.from_log(SPLIT.log, config, generator=generator()).eval()
    items = torch.ones(len(SPLIT.test), 2, dtype=torch.int64)
    assert din.score_lists(SPLIT.test.histories, items).isfinite().all()


def search(config: Any) -> None:
    items, ids = torch.eye(8), torch.arange(1, 9)
    found = FaissIndex.build(items, ids, config).nearest(items[:2], 3, torch.arange(2))
    assert found.scores[found.items > 0].isfinite().all()


def click(config: Any) -> None:
    traffic = Traffic.sample(WORLD, config, generator=np.random.default_rng(0))
    assert np.isfinite(traffic.readiness).all()
    traffic.clicks(0, np.array([1]), np.ones((1, 5), dtype=np.int64))


def nothing(config: Any) -> None:
    """Its numbers are only compared, or its parts are used above, or a use takes seconds."""


USES: dict[str, Any] = {
    **{
        config.__name__: lambda c, model=model: train(model(SPLIT.log, c, generator=generator()))
        for config, model in MODELS.items()
    },
    "ArmsConfig": lambda c: [
        model(SPLIT.log, config, generator=generator()) for model, config in c.models().values()
    ],
    "ClickConfig": click,
    "DINConfig": score,
    "Experiment": lambda c: c.members(np.arange(9)),
    "FaissConfig": search,
    "GateConfig": nothing,
    "ItemCFConfig": lambda c: assert_recommends(ItemCF.fit(SPLIT, c)),
    "MilvusConfig": nothing,
    "MultiInterestConfig": nothing,
    "PlantedConfig": lambda c: leave_last_out(planted_interests(c, seed=0).log),
    "PlantedRanker": lambda c: c.score_lists(SPLIT.test.histories, SPLIT.test.targets[:, None]),
    "PlatformConfig": nothing,
    "RankingConfig": rank,
    "RefreshConfig": nothing,
    "RoutingConfig": lambda c: train(
        MIND(SPLIT.log, MINDConfig(**SHAPE, routing=c), generator=generator())
    ),
    "SlateConfig": nothing,
    "Timeouts": nothing,
    "TrainingConfig": lambda c: train(
        YouTubeDNN(SPLIT.log, YouTubeDNNConfig(**SHAPE), generator=generator()), c
    ),
    "Trial": nothing,
    "VectorConfig": nothing,
    "WALSConfig": lambda c: assert_recommends(WALS.fit(SPLIT, c)),
}
assert {VectorConfig, MultiInterestConfig, RoutingConfig} <= set(CLASSES.values())

VALUES = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, True, False, "x", "", None, ()]),
    st.sampled_from([-1, 0, 10**9, 2**63, 1e-30, 1e-6, 1.5, 1e5, 1e12, 1e30]),
    st.integers(-2, 12),
    st.floats(),
    st.text(max_size=3),
    st.floats().map(np.float64),
    st.integers(0, 9).map(np.int64),
    st.lists(st.integers(0, 3), max_size=2),
    st.lists(st.floats() | st.integers(), max_size=2).map(tuple),
)


def test_every_configuration_class_has_a_use_here():
    assert set(USES) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
@given(data=st.data())
@settings(max_examples=max(1, settings().max_examples // 5))
def test_a_value_is_refused_or_works(name: str, data: st.DataObject):
    config = CLASSES[name]
    field = data.draw(st.sampled_from([field.name for field in dataclasses.fields(config)]))
    options = BASE.get(name, {}) | {field: data.draw(VALUES)}
    try:
        USES[name](unchecked(config, **options))
    except (ValueError, FloatingPointError) as error:
        *_, last = traceback.extract_tb(error.__traceback__)
        assert Path(last.filename).is_relative_to(LIBRARY), "an error of a library below mindlib"
