"""What `benchmarks/experiments.py` has recorded, as tables and as points for figures (§4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mindlib.evaluation import Estimate
from mindlib.experiments.results import Results, recorded_difference, recorded_rows
from mindlib.experiments.tables import markdown_table
from mindlib.lessons.n05_experiments.breadth import Group


class Point(NamedTuple):
    """A row of a study in one metric.

    Attributes:
        name: what the row changes, such as "sigma=0.1".
        mean: over seeds.
        deviation: over seeds; None of one seed.
    """

    name: str
    mean: float
    deviation: float | None


def study_points(results: Results, study: str, metric: str, part: str = "test") -> list[Point]:
    """The rows of a study in one metric, the setting that it starts from first.

    Raises:
        ValueError: no such study has been recorded.
    """
    rows = recorded_rows(results, study)
    if not rows:
        known = ", ".join(dict.fromkeys(row["study"] for row in results["rows"] if row["study"]))
        raise ValueError(f"no recorded study {study!r}; there is {known or 'none'}")
    return [
        Point(_label(name), row[part][metric]["mean"], row[part][metric]["deviation"])
        for name, row in rows.items()
    ]


def study_table(results: Results, study: str, metrics: Sequence[str]) -> str:
    """A study as Markdown: each row's test metrics, and its difference to the first with interval.

    The interval is of the first metric.
    """
    rows = recorded_rows(results, study)
    base, body = next(iter(rows)), []
    for name, row in rows.items():
        cells = [f"{100 * row['test'][metric]['mean']:.2f}" for metric in metrics]
        found = recorded_difference(results, name, base, metrics[0], study)
        body.append([_label(name), *cells, found.points() if found else ""])
    return markdown_table(["", *metrics, f"Δ {metrics[0]}, 95 % interval"], body)


def changes(results: Results, study: str, metric: str) -> list[tuple[str, Estimate]]:
    """How each row of a study differs from the setting that it starts from, with its interval."""
    base, *others = recorded_rows(results, study)
    found = [(name, recorded_difference(results, name, base, metric, study)) for name in others]
    return [(_label(name), estimate) for name, estimate in found if estimate]


def gains(results: Results, a: str, b: str, metric: str) -> list[Group]:
    """Whom a helps more than b, by the categories of the past.

    Raises:
        ValueError: the two have not been compared in this metric within bins.
    """
    for entry in results["comparisons"]:
        if entry["study"] is None and (entry["a"], entry["b"]) == (a, b):
            found = [
                Group(x["bin"], x["cases"], Estimate(x["difference"], x["low"], x["high"]))
                for x in entry.get("by_history_categories", ())
                if x["metric"] == metric
            ]
            if found:
                return found
    raise ValueError(f"{a!r} and {b!r} have not been compared in {metric!r} by categories")


def by_n(results: Results, metric: str, names: Sequence[str]) -> dict[str, dict[int, list[float]]]:
    """A test metric at every N, for each row the values of its seeds.

    Args:
        metric: without N, such as "HitRate".
    """
    rows = recorded_rows(results)
    return {
        name: {
            int(column.partition("@")[2]): said["seeds"]
            for column, said in rows[name]["test"].items()
            if column.startswith(f"{metric}@")
        }
        for name in names
        if name in rows
    }


def factor_values(
    results: Results, study: str, metrics: Sequence[str]
) -> dict[str, dict[str, dict[float, list[float]]]]:
    """A study as a figure needs it: metric, part, value of the factor, seeds.

    The row that the study starts from is left out, since it is one of the others or has no value.
    """
    rows = recorded_rows(results, study)
    values = {float(name.partition("=")[2]): row for name, row in rows.items() if "=" in name}
    return {
        metric: {
            part: {value: row[part][metric]["seeds"] for value, row in values.items()}
            for part in ("validation", "test")
        }
        for metric in metrics
    }


def curves(results: Results, study: str) -> dict[str, list[list[float]]]:
    """The validation metric of each epoch, for each row of a study the lines of its seeds."""
    rows = recorded_rows(results, study)
    return {_label(name): row["curves"] for name, row in rows.items() if "=" in name}


def _label(name: str) -> str:
    """The last part of a row's name: what it changes."""
    for mark in (" reverted: ", "MIND-4 "):
        if mark in name:
            return name.partition(mark)[2]
    return name
