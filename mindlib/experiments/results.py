"""Recorded results: what `benchmarks/experiments.py` writes, and how it is read (§4)."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jaxtyping import Bool, Int
from torch import Tensor

from mindlib.evaluation import Estimate, compare
from mindlib.experiments.cache import describe_config
from mindlib.experiments.tables import Values, results_table, summarize
from mindlib.experiments.trial import TrialRun
from mindlib.experiments.tuning import Tuning

Results = Mapping[str, Any]
# Cases by the number of categories in their history: name, least, most.
BINS: tuple[tuple[str, int, float], ...] = (
    ("0", 0, 0),
    ("1", 1, 1),
    ("2", 2, 2),
    ("3", 3, 3),
    ("4-5", 4, 5),
    ("6-8", 6, 8),
    ("9+", 9, math.inf),
)
# The metric of the comparisons within bins.
BIN_METRIC = "Recall@50"


# Writing


def result_row(runs: Sequence[TrialRun], tuning: Tuning | None) -> dict[str, Any]:
    """Describe a row of the results: one trial with its seeds, and how it was chosen."""
    trial = runs[0].trial
    row: dict[str, Any] = {
        "name": trial.name,
        "model": describe_config(trial.model),
        "config": describe_config(trial.config),
        "training": describe_config(trial.training) if trial.is_trained else None,
        "tuned": _tuning_facts(tuning) if tuning and tuning.values else None,
        "seeds": [run.seed for run in runs],
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


def compare_values(
    a: Values, b: Values, touched: Int[Tensor, " cases"] | None
) -> dict[str, list[dict[str, Any]]]:
    """Compare a - b over the test cases in every metric, and in one metric within the bins.

    Args:
        a, b: averaged over seeds, for the same cases.
        touched: the number of categories in the history of each case; None leaves the bins out.
    """
    metrics = [name for name in a if not name.startswith("Categories@")]
    found = {"all": [{"metric": name, **_estimate_facts(a[name], b[name])} for name in metrics]}
    if touched is not None and BIN_METRIC in a:
        found["by_history_categories"] = [
            {
                "bin": name,
                "cases": int(inside.sum()),
                "metric": BIN_METRIC,
                **_estimate_facts(a[BIN_METRIC][inside], b[BIN_METRIC][inside]),
            }
            for name, inside in bins_of(touched).items()
            if inside.sum() > 1
        ]
    return found


def bins_of(touched: Int[Tensor, " cases"]) -> dict[str, Bool[Tensor, " cases"]]:
    """Return which cases are in each bin; bins without a case are left out."""
    found = {name: (touched >= least) & (touched <= most) for name, least, most in BINS}
    return {name: inside for name, inside in found.items() if inside.any()}


def _estimate_facts(a: Tensor, b: Tensor) -> dict[str, float]:
    facts = dataclasses.asdict(compare(a, b))
    return {"difference": facts.pop("value"), **facts}


def rounded(value: Any) -> Any:
    """Round every float to six digits, and replace NaN by None, for a file that is committed."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return value


# Reading


def load_recorded(name: str) -> dict[str, Any]:
    """Load a benchmark's result that was measured on an idle machine and ships with mindlib.

    Raises:
        FileNotFoundError: there is no such result; the message lists those that exist.
    """
    folder = resources.files("mindlib.experiments") / "recorded"
    there = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    if f"{name}.json" not in there:
        known = ", ".join(sorted(n.removesuffix(".json") for n in there if n.endswith(".json")))
        raise FileNotFoundError(
            f"no recorded result {name!r}; there is {known or 'none'}. Run benchmarks/{name}.py, "
            f"which measures it, and put its JSON into mindlib/experiments/recorded/"
        )
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


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
    """Say in one sentence when, on what machine, by which command and commit it was recorded."""
    data, machine = results["data"], results["machine"]
    return (
        f"{data['name']}, {data['protocol']}, {data['test_cases']:,} test cases; recorded on "
        f"{results['date'][:10]} on {machine['cpu']} by `{results['command']}` with the code of "
        f"commit {results['commit'][:10]}."
    )
