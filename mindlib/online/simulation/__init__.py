"""The online experiment (§4.3), simulated: users by hash, clicks with position bias, seven days.

Nothing here is tuned towards the paper's order of methods: the users' truth and the click model
were fixed before the first run, and with users of one interest the simulation must not find that
several help.
"""

from mindlib.online.simulation.analysis import (
    MISMATCH,
    Difference,
    Rate,
    a_over_a,
    a_over_a_scores,
    ctr,
    ctr_by_day,
    daily_looks,
    difference,
    impression_rate,
    lift,
    rate,
    sample_ratio,
    searches_per_request,
)
from mindlib.online.simulation.arms import (
    DYNAMIC,
    ITEM_CF,
    YOUTUBE_DNN,
    ArmsConfig,
    fixed,
    train_arms,
)
from mindlib.online.simulation.assignment import Experiment
from mindlib.online.simulation.clicks import ClickConfig, Traffic
from mindlib.online.simulation.ranking import PlantedRanker
from mindlib.online.simulation.replay import Replay, last_weeks, replay
from mindlib.online.simulation.sequential import bounds, crossed, information, null_scores
from mindlib.online.simulation.week import Behaviors, PageConfig, Week, pages, run_week
from mindlib.online.simulation.worlds import ONE_INTEREST, SEVERAL_INTERESTS, learnt_from

__all__ = [
    "DYNAMIC",
    "ITEM_CF",
    "MISMATCH",
    "ONE_INTEREST",
    "SEVERAL_INTERESTS",
    "YOUTUBE_DNN",
    "ArmsConfig",
    "Behaviors",
    "ClickConfig",
    "Difference",
    "Experiment",
    "PageConfig",
    "PlantedRanker",
    "Rate",
    "Replay",
    "Traffic",
    "Week",
    "a_over_a",
    "a_over_a_scores",
    "bounds",
    "crossed",
    "ctr",
    "ctr_by_day",
    "daily_looks",
    "difference",
    "fixed",
    "impression_rate",
    "information",
    "last_weeks",
    "learnt_from",
    "lift",
    "null_scores",
    "pages",
    "rate",
    "replay",
    "run_week",
    "sample_ratio",
    "searches_per_request",
    "train_arms",
]
