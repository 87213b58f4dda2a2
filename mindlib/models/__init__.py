"""MIND and what it is compared with (§3, §4.2)."""

from mindlib.models.baselines import Oracle, Popularity, Random
from mindlib.models.mind import MIND, MINDConfig
from mindlib.models.vector import Interests, VectorModel
from mindlib.models.youtube_dnn import YouTubeDNN, YouTubeDNNConfig

__all__ = [
    "MIND",
    "Interests",
    "MINDConfig",
    "Oracle",
    "Popularity",
    "Random",
    "VectorModel",
    "YouTubeDNN",
    "YouTubeDNNConfig",
]
