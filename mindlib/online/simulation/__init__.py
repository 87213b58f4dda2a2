"""The online experiment (§4.3), simulated: users by hash, clicks with position bias, seven days.

Nothing here is tuned towards the paper's order of methods: the users' truth and the click model
were fixed before the first run. With users of one interest, several interests must not win.
"""

from mindlib.online.simulation.analysis import (
    SAMPLE_RATIO_ALPHA,
    a_over_a,
    ctr,
    ctr_by_day,
    daily_looks,
    impression_rate,
    lift,
    rate,
    sample_ratio,
    searches_per_request,
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
from mindlib.online.simulation.oracle_ranker import PlantedRanker
from mindlib.online.simulation.sequential import (
    information_fractions,
    stopped_share,
    stopping_bounds,
)
from mindlib.online.simulation.week import Behaviors, SlateConfig, Week, build_pipeline, run_week
from mindlib.online.simulation.worlds import ONE_INTEREST, SEVERAL_INTERESTS, restrict_training

__all__ = [
    "DYNAMIC_K",
    "ITEM_CF",
    "ONE_INTEREST",
    "SAMPLE_RATIO_ALPHA",
    "SEVERAL_INTERESTS",
    "YOUTUBE_DNN",
    "ArmsConfig",
    "Behaviors",
    "ClickConfig",
    "Experiment",
    "PlantedRanker",
    "SlateConfig",
    "Traffic",
    "Week",
    "a_over_a",
    "build_pipeline",
    "ctr",
    "ctr_by_day",
    "daily_looks",
    "fixed_k",
    "impression_rate",
    "information_fractions",
    "lift",
    "rate",
    "restrict_training",
    "run_week",
    "sample_ratio",
    "searches_per_request",
    "stopped_share",
    "stopping_bounds",
    "train_arms",
]
