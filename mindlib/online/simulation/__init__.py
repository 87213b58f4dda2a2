"""The online experiment (§4.3), simulated: users by hash, clicks with position bias, seven days.

The world of notebook 06 was changed once, after CTRs of several arms were seen: with 100 clusters,
popular items beat the users' true interests; now there are 800.
"""

from mindlib.online.simulation.analysis import (
    SAMPLE_RATIO_ALPHA,
    cuped,
    difference,
    half_scores,
    linearize,
    minimum_detectable_effect,
    sample_ratio,
    stopping_bounds,
)
from mindlib.online.simulation.arms import (
    DYNAMIC_K,
    ITEM_CF,
    YOUTUBE_DNN,
    ArmsConfig,
    fixed_k,
    train_arms,
)
from mindlib.online.simulation.assignment import Experiment
from mindlib.online.simulation.clicks import ClickConfig, Traffic
from mindlib.online.simulation.week import PlantedRanker, SlateConfig, Week, run_week

__all__ = [
    "DYNAMIC_K",
    "ITEM_CF",
    "SAMPLE_RATIO_ALPHA",
    "YOUTUBE_DNN",
    "ArmsConfig",
    "ClickConfig",
    "Experiment",
    "PlantedRanker",
    "SlateConfig",
    "Traffic",
    "Week",
    "cuped",
    "difference",
    "fixed_k",
    "half_scores",
    "linearize",
    "minimum_detectable_effect",
    "run_week",
    "sample_ratio",
    "stopping_bounds",
    "train_arms",
]
