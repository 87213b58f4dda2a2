"""What the benchmarks recorded on an idle machine, in words and rows for a notebook."""

from __future__ import annotations

from typing import Any, NamedTuple

from mindlib.experiments.results import load_recorded


class Record(NamedTuple):
    """A recorded result.

    Attributes:
        source: when, where and by which command.
        rows: as the benchmark wrote them.
    """

    source: str
    rows: list[dict[str, Any]]


def record(name: str) -> Record | None:
    """The recorded result of a benchmark; None where mindlib came without one."""
    try:
        found = load_recorded(name)
    except FileNotFoundError:
        return None
    machine = found | found.get("machine", {})
    return Record(
        f"recorded {found['date'][:10]} on {machine['cpu']}, by `{found['command']}`", found["rows"]
    )
