"""From a log of (user, item, time) to histories, targets, profiles and item features (§4.1)."""

from mindlib.data.catalogue import Catalogue, Request, UnknownItems
from mindlib.data.histories import Histories, History
from mindlib.data.interactions import FeatureTable, Interactions
from mindlib.data.planted import PlantedConfig, PlantedWorld, planted_interests
from mindlib.data.sources import complete_journey, load, recbole, sequences, table
from mindlib.data.splits import (
    SPLITS,
    Cases,
    Split,
    held_out_users,
    leave_last_out,
    random_interactions,
)

__all__ = [
    "SPLITS",
    "Cases",
    "Catalogue",
    "FeatureTable",
    "Histories",
    "History",
    "Interactions",
    "PlantedConfig",
    "PlantedWorld",
    "Request",
    "Split",
    "UnknownItems",
    "complete_journey",
    "held_out_users",
    "leave_last_out",
    "load",
    "planted_interests",
    "random_interactions",
    "recbole",
    "sequences",
    "table",
]
