"""mindlib: MIND (Li et al., CIKM 2019), its baselines, and the measures to judge them by."""

from mindlib.data import Histories, Interactions, load
from mindlib.evaluation import evaluate
from mindlib.models import MIND, MINDConfig, Popularity, Random, YouTubeDNN, YouTubeDNNConfig
from mindlib.training import TrainingConfig, fit

__version__ = "0.1.0"

__all__ = [
    "MIND",
    "Histories",
    "Interactions",
    "MINDConfig",
    "Popularity",
    "Random",
    "TrainingConfig",
    "YouTubeDNN",
    "YouTubeDNNConfig",
    "evaluate",
    "fit",
    "load",
]
