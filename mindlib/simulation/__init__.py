"""The online experiment (§4.3), simulated: users by hash, clicks with position bias, seven days.

Nothing here is tuned towards the paper's order of methods: the users' truth and the click model
were fixed before the first run, and with users of one interest the simulation must not find that
several help.
"""

from mindlib.simulation.analysis import (
    MISMATCH,
    Difference,
    Rate,
    a_over_a,
    a_over_a_scores,
    ctr,
    ctr_by_day,
    difference,
    impression_rate,
    lift,
    rate,
    sample_ratio,
    searches_per_request,
)
from mindlib.simulation.arms import DYNAMIC, ITEM_CF, YOUTUBE_DNN, ArmsConfig, fixed, train_arms
from mindlib.simulation.assignment import Experiment
from mindlib.simulation.clicks import ClickConfig, Traffic
from mindlib.simulation.ranking import BatchRanker, OneByOne, PlantedRanker, Ranker
from mindlib.simulation.sequential import bounds, ever_crossed, information, null_scores
from mindlib.simulation.week import Behaviors, PageConfig, Week, run_week, show
from mindlib.simulation.worlds import ONE_INTEREST, SEVERAL_INTERESTS, learnt_from

__all__ = [
    "DYNAMIC",
    "ITEM_CF",
    "MISMATCH",
    "ONE_INTEREST",
    "SEVERAL_INTERESTS",
    "YOUTUBE_DNN",
    "ArmsConfig",
    "BatchRanker",
    "Behaviors",
    "ClickConfig",
    "Difference",
    "Experiment",
    "OneByOne",
    "PageConfig",
    "PlantedRanker",
    "Ranker",
    "Rate",
    "Traffic",
    "Week",
    "a_over_a",
    "a_over_a_scores",
    "bounds",
    "ctr",
    "ctr_by_day",
    "difference",
    "ever_crossed",
    "fixed",
    "impression_rate",
    "information",
    "learnt_from",
    "lift",
    "null_scores",
    "rate",
    "run_week",
    "sample_ratio",
    "searches_per_request",
    "show",
    "train_arms",
]
