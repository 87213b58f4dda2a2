"""The model training platform (§5): daily versions, a gate before serving, rollback."""

from mindlib.online.refresh.follower import Follower
from mindlib.online.refresh.gate import GateConfig
from mindlib.online.refresh.pipeline import GateRejected, RefreshConfig, load_version, refresh
from mindlib.online.refresh.registry import ConcurrentUpdate, RefreshInProgress, Registry

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
