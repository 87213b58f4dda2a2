"""A small world with several interests a user, and a DIN for it."""

from typing import Any

import torch

from mindlib.data import Interactions, PlantedConfig, PlantedWorld, planted_interests
from mindlib.data.splits import Split, leave_last_out
from mindlib.online.ranking.din import DIN, DINConfig

CONFIG = PlantedConfig(
    num_users=400, num_clusters=8, items_per_cluster=10, events=(16, 30), num_segments=4, noise=0.05
)
SMALL: dict[str, Any] = {"dim": 16, "hidden": (32,), "history_length": 20}


def world(seed: int) -> PlantedWorld:
    return planted_interests(CONFIG, seed=seed)


def tiny() -> Split:
    config = PlantedConfig(num_users=60, num_clusters=4, items_per_cluster=6, num_segments=2)
    return leave_last_out(planted_interests(config, seed=0).log)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def din(log: Interactions, seed: int = 0, **options: Any) -> DIN:
    return DIN.from_log(log, DINConfig(**(SMALL | options)), generator=seeded(seed))


def randomized(log: Interactions, seed: int = 0, **options: Any) -> DIN:
    """A DIN with running statistics and slopes like a trained one's, in evaluation mode."""
    model = din(log, seed, **options)
    generator = seeded(seed + 1)
    for name, value in model.state_dict().items():
        if name.endswith("running_mean") or name.endswith("alpha"):
            value.normal_(0, 0.3, generator=generator)
        if name.endswith("running_var"):
            value.uniform_(0.3, 2, generator=generator)
    return model.eval()
