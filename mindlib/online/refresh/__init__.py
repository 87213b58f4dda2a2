"""The model training platform (§5): daily versions, a gate before serving, rollback."""

from mindlib.online.refresh.days import (
    Day,
    HeldOutCases,
    hold_out_newest_day,
    iterate_days,
    spread_over_days,
)
from mindlib.online.refresh.follower import Follower
from mindlib.online.refresh.gate import GateConfig, GateResult
from mindlib.online.refresh.pipeline import GateRejected, load_version, refresh
from mindlib.online.refresh.registry import (
    ConcurrentUpdate,
    RefreshInProgress,
    Registry,
    VersionRecord,
)
from mindlib.online.refresh.training import RefreshConfig, WarmStartConfig
from mindlib.online.refresh.warm import RowNames, warm_start

__all__ = [
    "ConcurrentUpdate",
    "Day",
    "Follower",
    "GateConfig",
    "GateRejected",
    "GateResult",
    "HeldOutCases",
    "RefreshConfig",
    "RefreshInProgress",
    "Registry",
    "RowNames",
    "VersionRecord",
    "WarmStartConfig",
    "hold_out_newest_day",
    "iterate_days",
    "load_version",
    "refresh",
    "spread_over_days",
    "warm_start",
]
