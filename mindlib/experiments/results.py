"""From runs to what is recorded: means, spread, who gains, and paired comparisons (§4)."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindlib.evaluation import Estimate, compare
from mindlib.experiments.cache import plain
from mindlib.experiments.trial import Part, Trial, TrialRun, Tuned

# Cases by how many categories their past touches: name, fewest, most.
BINS: tuple[tuple[str, int, int | None], ...] = (
    ("0", 0, 0),
    ("1", 1, 1),
    ("2", 2, 2),
    ("3", 3, 3),
    ("4-5", 4, 5),
    ("6-8", 6, 8),
    ("9+", 9, None),
)
# What comparisons within the bins are made in.
IN_BINS = ("HitRate@50", "Recall@50", "Recall@500")

Values = dict[str, Float[Tensor, " cases"]]


def over_seeds(runs: Sequence[TrialRun], part: Part) -> Values:
    """For each metric the value of each case, the mean over the runs."""
    found = [run.evaluations[part].values for run in runs]
    return {name: torch.stack([values[name] for values in found]).mean(0) for name in found[0]}


def summary_of(runs: Sequence[TrialRun], part: Part) -> dict[str, dict[str, Any]]:
    """For each metric the mean, the standard deviation (None of one run) and each run's value."""
    means = [run.evaluations[part].means() for run in runs]
    found: dict[str, dict[str, Any]] = {}
    for name in means[0]:
        values = [mean[name] for mean in means]
        spread = statistics.stdev(values) if len(values) > 1 else None
        found[name] = {"mean": statistics.fmean(values), "deviation": spread, "seeds": values}
    return found


def bins_of(touched: Int[Tensor, " cases"]) -> dict[str, Bool[Tensor, " cases"]]:
    """Which cases are in each bin; bins without a case are left out."""
    found = {}
    for name, fewest, most in BINS:
        inside = touched >= fewest
        if most is not None:
            inside &= touched <= most
        if inside.any():
            found[name] = inside
    return found


def by_bin(values: Values, touched: Int[Tensor, " cases"]) -> list[dict[str, Any]]:
    """The mean of each metric over the cases of each bin, and their number."""
    return [
        {
            "bin": name,
            "cases": int(inside.sum()),
            **{metric: float(value[inside].mean()) for metric, value in values.items()},
        }
        for name, inside in bins_of(touched).items()
    ]


def row_of(
    runs: Sequence[TrialRun], touched: Int[Tensor, " cases"] | None, tuned: Tuned | None
) -> dict[str, Any]:
    """A row of the recorded table: one setting, some seeds.

    Args:
        touched: how many categories the past of each test case touches, if items have any.
        tuned: how the setting was chosen, if it was.
    """
    trial, parts = runs[0].trial, list(runs[0].evaluations)
    row: dict[str, Any] = {
        "name": trial.name,
        "model": plain(trial.model),
        "config": plain(trial.config),
        "training": plain(trial.training) if trial.trained else None,
        "tuned": tuned_of(tuned) if tuned else None,
        "seeds": [run.seed for run in runs],
        "seconds": statistics.fmean(run.seconds for run in runs),
        "best_epochs": [run.fit.best_epoch for run in runs if run.fit],
        "curves": [[e[trial.training.monitor] for e in run.fit.log] for run in runs if run.fit],
        "codes": sorted({code for run in runs for code in run.codes}),
    }
    row |= {part: summary_of(runs, part) for part in parts}
    if touched is not None and "test" in parts:
        row["by_history_categories"] = by_bin(over_seeds(runs, "test"), touched)
    return row


def tuned_of(tuned: Tuned) -> dict[str, Any]:
    """How a setting was chosen: what differed among the candidates, and what each reached."""
    settings = [_flat(candidate) for candidate in tuned.candidates]
    differ = [
        name
        for name in dict.fromkeys(name for setting in settings for name in setting)
        if len({repr(setting.get(name)) for setting in settings}) > 1
    ]
    return {
        "on": f"validation {tuned.metric}",
        "candidates": [
            {name: setting.get(name) for name in differ} | {"value": value}
            for setting, value in zip(settings, tuned.values, strict=True)
        ],
        "chosen": tuned.candidates.index(tuned.best),
    }


def paired(
    a: Values, b: Values, touched: Int[Tensor, " cases"] | None
) -> dict[str, list[dict[str, Any]]]:
    """a - b over the test cases, in every metric; in some of them also within the bins.

    Args:
        a, b: averaged over seeds, of the same cases.
    """
    metrics = [name for name in a if not name.startswith("Categories@")]
    found: dict[str, list[dict[str, Any]]] = {
        "all": [{"metric": name, **_said(compare(a[name], b[name]))} for name in metrics]
    }
    if touched is not None:
        found["by_history_categories"] = [
            {
                "bin": name,
                "cases": int(inside.sum()),
                "metric": metric,
                **_said(compare(a[metric][inside], b[metric][inside])),
            }
            for name, inside in bins_of(touched).items()
            for metric in IN_BINS
            if metric in a and int(inside.sum()) > 1
        ]
    return found


def rounded(value: Any) -> Any:
    """The same as a committed file needs it: six digits of every float, None for NaN."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return value


def _said(comparison: Estimate) -> dict[str, float]:
    found = dataclasses.asdict(comparison)
    return {"difference": found.pop("value"), **found}


def _flat(trial: Trial) -> dict[str, Any]:
    """The settings of a trial by dotted name."""

    def leaves(value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, Mapping):
            found: dict[str, Any] = {}
            for name, part in value.items():
                found |= leaves(part, f"{path}.{name}" if path else name)
            return found
        return {path: value}

    return leaves({"config": plain(trial.config), "training": plain(trial.training)}, "")
