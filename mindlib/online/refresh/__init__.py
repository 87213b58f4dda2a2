"""The model training platform (§5): a new version every night, and never a worse one."""

from mindlib.online.refresh.days import Day, Judge, days, newest_day, over_days
from mindlib.online.refresh.follow import Follower
from mindlib.online.refresh.gate import GateConfig, Verdict
from mindlib.online.refresh.nightly import (
    Ranking,
    RefreshConfig,
    Refreshed,
    Refused,
    Warm,
    load_version,
    refresh,
)
from mindlib.online.refresh.registry import Busy, Overtaken, Record, Registry
from mindlib.online.refresh.warm import RowNames, warm_start

__all__ = [
    "Busy",
    "Day",
    "Follower",
    "GateConfig",
    "Judge",
    "Overtaken",
    "Ranking",
    "Record",
    "RefreshConfig",
    "Refreshed",
    "Refused",
    "Registry",
    "RowNames",
    "Verdict",
    "Warm",
    "days",
    "load_version",
    "newest_day",
    "over_days",
    "refresh",
    "warm_start",
]
