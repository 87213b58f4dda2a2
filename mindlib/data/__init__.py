"""Logs of (user, item, time) as histories, targets, profiles and item features (§4.1)."""

from mindlib.data.catalogue import Catalogue
from mindlib.data.feature_table import FeatureTable
from mindlib.data.histories import Histories, History
from mindlib.data.interactions import Interactions
from mindlib.data.planted import PlantedConfig, PlantedWorld, planted_interests
from mindlib.data.readers.amazon import amazon_reviews
from mindlib.data.readers.complete_journey import complete_journey
from mindlib.data.readers.movielens import movielens_1m
from mindlib.data.readers.recbole import recbole
from mindlib.data.readers.taobao import taobao_behaviors
from mindlib.data.sources import load, sequences, table
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
    "Split",
    "amazon_reviews",
    "complete_journey",
    "held_out_users",
    "leave_last_out",
    "load",
    "movielens_1m",
    "planted_interests",
    "random_interactions",
    "recbole",
    "sequences",
    "table",
    "taobao_behaviors",
]
