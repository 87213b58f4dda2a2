"""Every configuration checks the type, the choice and the range of each of its fields."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from mindlib.data.filtering import check_filter
from mindlib.data.option_types import check_option
from mindlib.data.planted import PlantedWorld
from mindlib.layers.routing import RoutingConfig, compute_coupling
from mindlib.models import ComiRecSAConfig, MINDConfig, WALSConfig, YouTubeDNNConfig
from mindlib.online.refresh.gate import GateConfig
from mindlib.online.refresh.pipeline import RefreshConfig
from mindlib.online.serving.stages import PlatformConfig, Timeouts
from mindlib.retrieval import check_engine
from mindlib.retrieval.faiss import FaissConfig
from mindlib.training import TrainingConfig
from mindlib.training.config import Loss
from tests.conftest import unchecked
from tests.option_classes import option_classes
from tests.reliability import refuses

NEEDED = {
    "Experiment": {"name": "test", "arms": ("a", "b")},
    "MilvusConfig": {"uri": "items.db"},
    "PlantedRanker": {"world": object.__new__(PlantedWorld)},
    "Trial": {"name": "trial", "model": object},
}
CLASSES = option_classes()


@pytest.mark.parametrize("name", CLASSES)
def test_no_field_of_any_configuration_may_be_nan(name: str):
    """A comparison with NaN is always false, so that a check of a range may let it pass."""
    config = CLASSES[name]
    for field in dataclasses.fields(config):
        if field.type not in ("Any", "type", "PlantedWorld"):
            with pytest.raises(ValueError, match=rf"{field.name}=nan: expected"):
                unchecked(config, **NEEDED.get(name, {}) | {field.name: math.nan})


REFUSED: list[tuple[str, type, dict[str, Any], str]] = [
    ("epochs is NaN", TrainingConfig, {"epochs": math.nan}, "epochs=nan: expected a whole number"),
    ("patience is a bool", TrainingConfig, {"patience": True}, "patience=True: expected a whole"),
    ("batch_size is a fraction", TrainingConfig, {"batch_size": 2.5}, "batch_size=2.5: expected a"),
    ("negatives exceed the memory", TrainingConfig, {"negatives": 10**9}, "expected 1 to 1,000,0"),
    ("learning_rate is a text", TrainingConfig, {"learning_rate": "0.1"}, "expected a number"),
    ("learning_rate is infinite", TrainingConfig, {"learning_rate": math.inf}, "at most 100"),
    ("seed is negative", TrainingConfig, {"seed": -1}, "seed=-1: expected 0 to 4,294,967,295"),
    ("loss is misspelt", TrainingConfig, {"loss": "labels"}, "loss='labels': expected 'candidate'"),
    ("monitor has no N", TrainingConfig, {"monitor": "Recall"}, "expected HitRate@N, Recall@N or"),
    ("power is NaN", MINDConfig, {"power": math.nan}, "power=nan: expected a number"),
    (
        "routing is a text",
        MINDConfig,
        {"routing": "paper"},
        "an instance of RoutingConfig",
    ),
    ("max_interests is 10**9", RoutingConfig, {"max_interests": 10**9}, "expected 1 to 10,000"),
    ("history_length is 10**9", MINDConfig, {"history_length": 10**9}, "expected 1 to 10,000"),
    ("hidden is a list", MINDConfig, {"hidden": [64]}, r"expected \(a whole number, ...\) or None"),
    ("dim is a float", ComiRecSAConfig, {"dim": 64.0}, "dim=64.0: expected a whole number"),
    ("title_words is a number", MINDConfig, {"title_words": 1}, "title_words=1: expected True or"),
    ("regularization is zero", WALSConfig, {"regularization": 0.0}, "expected 1e-06 to 1,000,0"),
    ("a timeout is zero", Timeouts, {"rank": 0.0}, "rank=0.0: expected 1e-06 to 60"),
    (
        "a stage has 10**9 threads",
        PlatformConfig,
        {"workers": 10**9},
        "expected 1 to 10,000",
    ),
    ("the gate's tolerance is 1", GateConfig, {"tolerance": 1.0}, "expected 0 to 0.999"),
    ("the index of a refresh is misspelt", RefreshConfig, {"index": "fais"}, 'expected "exact"'),
    ("nprobe is zero", FaissConfig, {"nprobe": 0}, "nprobe=0: expected at least 1"),
]


@pytest.mark.parametrize(("fault", "config", "options", "message"), REFUSED)
def test_an_option_of_another_type_or_out_of_range_is_refused(
    fault: str, config: type, options: dict[str, Any], message: str
):
    with refuses("Configuration", fault, ValueError, match=message):
        unchecked(config, **options)


def test_numbers_are_converted():
    config = unchecked(
        MINDConfig, dim=np.int64(8), id_scale=np.float64(0.5), behavior_dropout=0, power=2
    )
    values = (config.dim, config.id_scale, config.behavior_dropout, config.power)
    assert values == (8, 0.5, 0.0, 2.0)
    assert [type(value) for value in values] == [int, float, float, float]
    with pytest.raises(ValueError, match=r"dim=tensor\(8\): expected a whole number"):
        unchecked(YouTubeDNNConfig, dim=torch.tensor(8))


def without_hints(function: Any) -> Any:
    """Return a function without the type checks of the tests, which would refuse first."""
    return function.__wrapped__


def test_a_choice_of_a_function_is_checked_too():
    scores, active = torch.randn(2, 3), torch.ones(2, 3, dtype=torch.bool)
    calls = (
        lambda: without_hints(compute_coupling)(scores[None], ~active[None], "behaviours"),
        lambda: without_hints(check_filter)(5, "kcore"),
        lambda: check_engine("fais"),
        lambda: check_option("loss", ["label"], Loss),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"expected ['\"](candidate|interests|once|exact)"):
            call()
