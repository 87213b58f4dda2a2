"""What the benchmarks recorded on an idle machine, in words and rows for a notebook."""

from __future__ import annotations

from typing import Any, NamedTuple

from mindlib.experiments.results import load_recorded


class Point(NamedTuple):
    """One index, asked by one user at a time.

    Attributes:
        recall: the share of the exact top N.
        p50, p99: milliseconds a request.
    """

    name: str
    interests: int
    recall: float
    p50: float
    p99: float


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


def scaling_rows(rows: list[dict[str, Any]]) -> dict[int, dict[str, float | None]]:
    """For each size of catalogue the milliseconds of both optimisers and their gigabytes.

    None where a size did not fit into the memory.
    """
    table: dict[int, dict[str, float | None]] = {}
    for row in rows:
        sizes = table.setdefault(row["items"], {})
        sizes[f"{row['optimizer']}, ms"] = row.get("milliseconds")
        sizes[f"{row['optimizer']}, GB"] = row.get("gigabytes")
    return table


def serving_curves(rows: list[dict[str, Any]]) -> dict[str, list[Point]]:
    """Recall against latency of the recorded inverted files, for each size of catalogue (K = 5)."""
    curves: dict[str, list[Point]] = {}
    for row in rows:
        exact = row["index"] == "ExactIndex"
        if row["interests"] == 5 and (exact or row["index"].endswith(",SQfp16")):
            name = f"recorded, {row['num_items']:,} items"
            kind = "exact" if exact else f"{row['index']} {row['search']}"
            curves.setdefault(name, []).append(_point(row, kind))
    return {name: sorted(row, key=lambda p: p.recall) for name, row in curves.items()}


def serving_by_interests(rows: list[dict[str, Any]]) -> list[Point]:
    """The default index of the largest recorded catalogue, for each K."""
    largest = max(row["num_items"] for row in rows)
    chosen = [row for row in rows if row["num_items"] == largest and row["default"]]
    return sorted((_point(row, row["index"]) for row in chosen), key=lambda p: p.interests)


def _point(row: dict[str, Any], name: str) -> Point:
    return Point(name, row["interests"], row["recall"], row["p50"], row["p99"])
