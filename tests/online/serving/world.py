"""A small shop: a planted world, a model that need not be good, and a version of both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from jaxtyping import Float, Int

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.models import MIND, MINDConfig
from mindlib.online import export as exports
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


@dataclass(frozen=True)
class Nearest:
    """A ranker: the later an item's number, the better, times `sign`."""

    sign: int = 1

    def score(
        self, behavior_items: Int[np.ndarray, " length"], candidates: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        return self.sign * candidates.astype(np.float32)

    def save(self, path: str | Path) -> None:
        Path(path).write_text(str(self.sign), encoding="utf-8")

    @staticmethod
    def load(path: str | Path) -> Nearest:
        return Nearest(int(Path(path).read_text(encoding="utf-8")))


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
