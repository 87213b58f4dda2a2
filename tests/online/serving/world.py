"""A small shop: a planted world, a model that need not be good, and a version of both."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.models import MIND, MINDConfig
from mindlib.online import export as exports
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.serving.bundle import Bundle

WORLD = planted_interests(PlantedConfig(num_users=60, num_clusters=12, items_per_cluster=20))
LOG = WORLD.log
SPLIT = leave_last_out(LOG)


def make_model(seed: int = 0) -> MIND:
    return MIND(
        LOG,
        MINDConfig(dim=8, hidden=(), history_length=8),
        generator=torch.Generator().manual_seed(seed),
    )


class Scored(DINRanker):
    """A ranker whose scores are those of a function."""

    def __init__(self, score: Callable[[np.ndarray, np.ndarray], Any]) -> None:
        vars(self).update(score=score, model=None, catalogue="")


def nearest(sign: int = 1) -> Scored:
    """A ranker: the later an item's number, the better, times `sign`."""
    return Scored(lambda behavior_items, candidates: sign * candidates.astype(np.float32))


@cache
def _program(seed: int) -> Any:
    """The traced graph, which takes seconds and is the same each time."""
    assert LOG.profiles is not None
    return exports._trace(make_model(seed), len(LOG.profiles.fields))


def write(folder: Path, version: str = "one", seed: int = 0, **parts: Any) -> Path:
    usual = {"counts": SPLIT.train_counts, "category": "department"}
    program = _program(seed)
    with patch.object(exports, "_trace", lambda *_: program):
        return Bundle.write(
            folder, version=version, model=make_model(seed), log=LOG, **(usual | parts)
        )
