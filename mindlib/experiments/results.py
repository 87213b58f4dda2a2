"""Recorded results: what `benchmarks/experiments.py` writes, and how it is read (§4)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from mindlib.data.storage import read_object
from mindlib.evaluation import Estimate
from mindlib.experiments.cache import describe_config
from mindlib.experiments.tables import results_table, summarize
from mindlib.experiments.trial import TrialRun
from mindlib.experiments.tuning import Tuning

Results = Mapping[str, Any]


def result_row(runs: Sequence[TrialRun], tuning: Tuning | None) -> dict[str, Any]:
    """Describe a row of the results: one trial with its seeds, and how it was chosen."""
    trial = runs[0].trial
    row: dict[str, Any] = {
        "name": trial.name,
        "model": describe_config(trial.model),
        "config": describe_config(trial.config),
        "training": describe_config(trial.training) if trial.is_trained else None,
        "tuned": _tuning_facts(tuning) if tuning and tuning.values else None,
        "seeds": [run.trial.seed for run in runs],
        "seconds": statistics.fmean(run.seconds for run in runs),
        "best_epochs": [run.fit.best_epoch for run in runs if run.fit],
        "curves": [[e[trial.training.monitor] for e in run.fit.log] for run in runs if run.fit],
        "commits": sorted({commit for run in runs for commit in run.commits}),
    }
    return row | {part: summarize(runs, part) for part in runs[0].evaluations}


def _tuning_facts(tuning: Tuning) -> dict[str, Any]:
    """Describe the fields in which the candidates differ, and the value of each candidate."""
    settings = [
        {f"{part}.{name}": value for part in ("config", "training")
         for name, value in describe_config(getattr(trial, part)).items()}
        for trial in tuning.candidates
    ]  # fmt: skip
    differing = [n for n in settings[0] if len({repr(setting[n]) for setting in settings}) > 1]
    return {
        "on": f"validation {tuning.metric}",
        "candidates": [
            {name: setting[name] for name in differing} | {"value": value}
            for setting, value in zip(settings, tuning.values, strict=True)
        ],
        "chosen": tuning.candidates.index(tuning.best),
    }


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
            f"no recorded result {name!r}; there is {', '.join(sorted(known))}. Run "
            f"benchmarks/{name}.py, which measures it, and put its JSON into "
            f"mindlib/experiments/recorded/"
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
    data, machine = results["data"], results["machine"]
    rows = {commit for row in results["rows"] for commit in row.get("commits", ())}
    commits = dict.fromkeys([results["commit"], *sorted(rows)])
    return (
        f"{data['name']}, {data['protocol']}, {data['test_cases']:,} test cases; recorded on "
        f"{results['date'][:10]} on {machine['cpu']} by `{results['command']}` with the code of "
        f"commit {', '.join(commit[:10] for commit in commits)}."
    )
