"""A small shop with days, and a daily refresh that takes seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mindlib.data import Interactions, PlantedConfig, planted_interests
from mindlib.data.storage import checksum
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MINDConfig
from mindlib.online.artifacts import seal
from mindlib.online.refresh import GateConfig, RefreshConfig
from mindlib.online.refresh.days import DAY, day_numbers
from mindlib.training import TrainingConfig

FIRST = 6  # the first evening


def training(epochs: int) -> TrainingConfig:
    return TrainingConfig(
        epochs=epochs,
        batch_size=128,
        negatives=48,
        learning_rate=2e-2,
        monitor="Recall@5",
        patience=epochs,
    )


CONFIG = RefreshConfig(
    model=MINDConfig(
        dim=8,
        hidden=(),
        history_length=8,
        routing=RoutingConfig(max_interests=2),
        behavior_dropout=0.0,
    ),
    training=training(8),
    warm_start=training(2),
    held_out=0.8,
    gate=GateConfig(cutoff=5),
    category="department",
)


def spread_over_days(log: Interactions, *, stable: int, growing: int) -> Interactions:
    """Assign times to a generated log, so that its catalogue and its users grow by the day.

    A fifth of the users and two fifths of the items first appear on one of the growing days.
    """
    rng = np.random.default_rng(0)
    first_day = np.zeros(log.num_users + 1)
    release = np.zeros(log.num_items + 1)
    for start, share in ((first_day, 0.2), (release, 0.4)):
        is_new = rng.random(len(start)) < share
        start[is_new] = stable + rng.integers(growing, size=is_new.sum())
    # Sorting the uniform numbers of each user makes the times increase along the events.
    uniform = rng.random(len(log))
    uniform = uniform[np.lexsort((uniform, log.users))]
    begin = first_day[log.users]
    time = begin + uniform * (stable + growing - begin)
    return replace(log, timestamps=(time * DAY).astype(np.int64)).select(time >= release[log.items])


@cache
def daily_logs() -> list[Interactions]:
    """The log on three days."""
    config = PlantedConfig(
        num_users=400,  # the gate judges by 50 to 70 of them: fewer, and chance decides
        num_clusters=6,
        items_per_cluster=8,
        max_interests=2,
        events=(8, 14),
        noise=0.0,
        num_segments=2,
    )
    log = spread_over_days(planted_interests(config, seed=0).log, stable=FIRST, growing=4)
    return [log.select(day_numbers(log) <= day) for day in range(FIRST, FIRST + 3)]


def own(bundle: Path) -> None:
    """Let a version's manifests call a changed part their own: a mistake of who wrote it."""
    for folder in (bundle / "model", bundle):
        path = folder / "manifest.json"
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        manifest["files"] = {part: checksum(folder / part) for part in manifest["files"]}
        path.write_text(json.dumps(seal(manifest)), encoding="utf-8")
