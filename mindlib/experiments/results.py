"""Recorded results, which `benchmarks/experiments.py` writes (§4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from mindlib.data.storage import read_object
from mindlib.evaluation import Estimate
from mindlib.experiments.tables import results_table

Results = Mapping[str, Any]


def load_recorded(name: str) -> dict[str, Any]:
    """Load a benchmark's result that was measured on an idle machine and ships with mindlib.

    Raises:
        FileNotFoundError: there is no such result; the message lists those that exist.
        ValueError: the file is damaged.
    """
    folder = resources.files("mindlib.experiments") / "recorded"
    known = {file.name.removesuffix(".json"): file for file in folder.iterdir()}
    if name not in known:
        raise FileNotFoundError(
            f"no recorded result {name!r}; there is {', '.join(sorted(known))}. See "
            f"benchmarks/README.md for how to record one"
        )
    return read_object(known[name], "; install mindlib again")


def recorded_rows(results: Results, study: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the rows of the main table or of a study by name, without failed training runs."""
    return {
        row["name"]: row for row in results["rows"] if row["study"] == study and "failed" not in row
    }


def recorded_table(results: Results, metrics: Sequence[str]) -> str:
    """Render the main table's test metrics; metrics that a row lacks are left out."""
    tests = {name: row["test"] for name, row in recorded_rows(results).items()}
    return results_table(tests, [m for m in metrics if all(m in test for test in tests.values())])


def recorded_difference(
    results: Results, a: str, b: str, metric: str, study: str | None = None
) -> Estimate | None:
    """Return the recorded difference a - b, in either order; None if there is no comparison."""
    for entry in results["comparisons"]:
        if entry["study"] != study or {entry["a"], entry["b"]} != {a, b}:
            continue
        for facts in entry["all"]:
            if facts["metric"] == metric:
                values = (facts["difference"], facts["low"], facts["high"], facts["p_value"])
                return Estimate(*values) if entry["a"] == a else -Estimate(*values)
    return None


def provenance(results: Results) -> str:
    """Say when, on what machine, by which command and commits the results were recorded."""
    data, machine, settings = results["data"], results["machine"], results["settings"]
    chosen = f"settings of `{settings['settings_of']}`"
    if not settings["settings_of"]:
        chosen = f"{settings['budget']} candidates for each tuned model"
    rows = {commit for row in results["rows"] for commit in row.get("commits", ())}
    commits = dict.fromkeys([results["commit"], *sorted(rows)])
    return (
        f"{data['name']}, {data['protocol']}, {data['test_cases']:,} test cases; {chosen}; "
        f"recorded on {results['date'][:10]} on {machine['cpu']} by `{results['command']}` with "
        f"the code of commit {', '.join(commit[:10] for commit in commits)}."
    )
