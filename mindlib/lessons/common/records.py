"""The source of recorded results that a notebook shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def source(results: Mapping[str, Any]) -> str:
    """Say when, where and by which command a benchmark recorded its results."""
    return f"recorded {results['date'][:10]} on {results['cpu']}, by `{results['command']}`"
