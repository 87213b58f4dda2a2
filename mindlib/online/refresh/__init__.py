"""The model training platform (§5): daily versions, a gate before serving, rollback."""

from mindlib.online.refresh.follower import Follower
from mindlib.online.refresh.gate import GateConfig
from mindlib.online.refresh.pipeline import GateRejected, load_version, refresh
from mindlib.online.refresh.registry import ConcurrentUpdate, RefreshInProgress, Registry
from mindlib.online.refresh.training import RefreshConfig

__all__ = [
    "ConcurrentUpdate",
    "Follower",
    "GateConfig",
    "GateRejected",
    "RefreshConfig",
    "RefreshInProgress",
    "Registry",
    "load_version",
    "refresh",
]
