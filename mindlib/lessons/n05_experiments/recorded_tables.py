"""What `benchmarks/experiments.py` has recorded, as tables and as points for figures (§4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mindlib.evaluation import Estimate
from mindlib.experiments.claims import difference
from mindlib.lessons.n05_experiments.breadth import Group

Results = Mapping[str, Any]


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


def rows_of(results: Results, study: str | None = None) -> dict[str, dict[str, Any]]:
    """The rows by name: the table's, or those of a study; broken trainings are left out."""
    return {
        row["name"]: row for row in results["rows"] if row["study"] == study and "failed" not in row
    }


def recorded_table(
    results: Results, metrics: Sequence[str], names: Sequence[str] | None = None
) -> str:
    """A Markdown table of the test metrics: mean ± standard deviation over seeds.

    Shares are in percent, Categories@N are numbers. The best of each column is bold.

    Args:
        metrics: the columns; those that the results lack are left out.
        names: the rows in this order; all by default.

    Raises:
        ValueError: a row is not among the results.
    """
    rows = rows_of(results)
    if unknown := [name for name in names or () if name not in rows]:
        raise ValueError(f"no row {unknown[0]!r}; there is {', '.join(rows)}")
    shown = {name: rows[name]["test"] for name in names or rows}
    metrics = [metric for metric in metrics if all(metric in test for test in shown.values())]
    best = {metric: max(test[metric]["mean"] for test in shown.values()) for metric in metrics}
    lines = [f"| model | seeds | {' | '.join(metrics)} |", "|---|--:" + "|--:" * len(metrics) + "|"]
    for name, test in shown.items():
        cells = []
        for metric in metrics:
            unit = 1 if metric.startswith("Categories@") else 100
            mean, deviation = test[metric]["mean"], test[metric]["deviation"]
            text = f"{unit * mean:.2f}"
            text = f"**{text}**" if mean == best[metric] else text
            cells.append(text + (f" ± {unit * deviation:.2f}" if deviation is not None else ""))
        lines.append(f"| {name} | {len(rows[name]['seeds'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def study_points(results: Results, study: str, metric: str, part: str = "test") -> list[Point]:
    """The rows of a study in one metric, the setting that it starts from first.

    Raises:
        ValueError: no such study has been recorded.
    """
    rows = rows_of(results, study)
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
    rows = rows_of(results, study)
    names = list(rows)
    lines = [
        f"| | {' | '.join(metrics)} | Δ {metrics[0]} | 95 % interval |",
        "|---" + "|--:" * (len(metrics) + 1) + "|---|",
    ]
    for name in names:
        cells = [f"{100 * rows[name]['test'][metric]['mean']:.2f}" for metric in metrics]
        found = difference(results, name, names[0], metrics[0], study)
        change = f"{100 * found.value:+.2f}" if found else ""
        reach = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}" if found else ""
        lines.append(f"| {_label(name)} | {' | '.join(cells)} | {change} | {reach} |")
    return "\n".join(lines)


def changes(results: Results, study: str, metric: str) -> list[tuple[str, Estimate]]:
    """How each row of a study differs from the setting that it starts from, with its interval."""
    first, *others = rows_of(results, study)
    found = [(_label(name), difference(results, name, first, metric, study)) for name in others]
    return [(name, d) for name, d in found if d]


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
    rows = rows_of(results)
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
    rows = rows_of(results, study)
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
    return {
        _label(name): row["curves"] for name, row in rows_of(results, study).items() if "=" in name
    }


def provenance(results: Results) -> str:
    """One sentence: which data and protocol, when, on what, by which command."""
    data, machine = results["data"], results["machine"]
    return (
        f"{data['name']}, {data['protocol']}, {data['test_cases']:,} test cases; recorded on "
        f"{results['date'][:10]} on {machine['cpu']} by `{results['command']}`."
    )


def _label(name: str) -> str:
    """The last part of a row's name: what it changes."""
    for mark in (" reverted: ", "MIND-4 "):
        if mark in name:
            return name.partition(mark)[2]
    return name
