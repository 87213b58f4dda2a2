"""Small instances of the models that MIND is compared with, and a planted world."""

from collections.abc import Callable
from typing import Any

import torch

from mindlib.data import Interactions, PlantedConfig
from mindlib.models import (
    ComiRecDR,
    ComiRecDRConfig,
    ComiRecSA,
    ComiRecSAConfig,
    MaxMF,
    MaxMFConfig,
    SASRec,
    SASRecConfig,
    VectorModel,
)

WORLD = PlantedConfig(
    num_users=400, num_clusters=8, items_per_cluster=10, events=(16, 30), num_segments=4
)
LENGTH = 20
SMALL: dict[str, Any] = {"dim": 16, "history_length": LENGTH}

Build = Callable[[Interactions, torch.Generator], VectorModel]
BUILDS: dict[str, Build] = {
    "maxmf": lambda log, g: MaxMF(log, MaxMFConfig.paper(hidden=(16,), **SMALL), generator=g),
    "maxmf-linear": lambda log, g: MaxMF(log, MaxMFConfig.paper(hidden=None, **SMALL), generator=g),
    "comirec-sa": lambda log, g: ComiRecSA(log, ComiRecSAConfig.paper(**SMALL), generator=g),
    "comirec-sa-head": lambda log, g: ComiRecSA(
        log, ComiRecSAConfig.paper(hidden=(16,), positions=False, **SMALL), generator=g
    ),
    "comirec-dr": lambda log, g: ComiRecDR(log, ComiRecDRConfig.paper(**SMALL), generator=g),
    "comirec-dr-head": lambda log, g: ComiRecDR(
        log, ComiRecDRConfig.paper(hidden=(16,), **SMALL), generator=g
    ),
    "sasrec": lambda log, g: SASRec(log, SASRecConfig.paper(**SMALL), generator=g),
}


def build(name: str, log: Interactions, seed: int = 0) -> VectorModel:
    """One of `BUILDS`, with the weights of a seed."""
    return BUILDS[name](log, torch.Generator().manual_seed(seed))
