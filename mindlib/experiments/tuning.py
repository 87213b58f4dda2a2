"""Choose each row's configuration on the validation cases, and run it with several seeds (§4.1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mindlib.data.splits import Split
from mindlib.data.storage import digest_of
from mindlib.experiments.execution import run_trial
from mindlib.experiments.search_space import BUDGET
from mindlib.experiments.trial import Trial, TrialRun


class Tuning(NamedTuple):
    """The candidates of a row and the one that was chosen.

    Attributes:
        best: the chosen candidate.
        candidates: all of them.
        values: the validation metric of each, NaN if its training diverged; empty if there is one
            candidate.
        metric: the name of that metric.
    """

    best: Trial
    candidates: tuple[Trial, ...]
    values: tuple[float, ...] = ()
    metric: str = ""


def tune_settings(
    split: Split,
    candidates: Sequence[Trial],
    *,
    cutoffs: Sequence[int],
    metric: str,
    budget: int = BUDGET,
    report: Callable[[TrialRun], None] | None = None,
    **options: Any,
) -> Tuning:
    """Choose among candidates of a row by the validation cases alone; of equals the first.

    A single candidate is chosen without evaluating it.

    Args:
        candidates: different configurations of one model.
        metric: the one that is compared; its N is one of the cutoffs.
        budget: the number of candidates, the same for all models of a table.
        report: called with each run.
        options: passed to `run_trial`: cache, categories, device, progress.

    Raises:
        ValueError: there are not `budget` different candidates (or one), or the cutoffs do not
            include the metric's.
        FloatingPointError: the training of every candidate diverged.
    """
    if len(candidates) == 1:
        return Tuning(candidates[0], tuple(candidates))
    name = candidates[0].name if candidates else "no model"
    if (different := len({digest_of(c.identity) for c in candidates})) != budget:
        raise ValueError(
            f"{different} different candidates of {name}: expected {budget}, as for every model"
        )
    if int(metric.partition("@")[2]) not in cutoffs:
        raise ValueError(f"metric={metric!r}: expected one with N among {tuple(cutoffs)}")
    values = []
    for candidate in candidates:
        try:
            run = run_trial(split, candidate, cutoffs, parts=("validation",), **options)
        except FloatingPointError as error:
            warnings.warn(f"{name}: {error}", stacklevel=2)
            values.append(np.nan)
            continue
        values.append(run.evaluations["validation"].means()[metric])
        if report:
            report(run)
    if np.isnan(values).all():
        raise FloatingPointError(f"the training of every candidate of {name} diverged")
    return Tuning(candidates[int(np.nanargmax(values))], tuple(candidates), tuple(values), metric)


def run_seeds(
    split: Split,
    trials: Iterable[Trial],
    *,
    seeds: int,
    report: Callable[[TrialRun], None] | None = None,
    **options: Any,
) -> list[TrialRun]:
    """Run each trial with the seeds 0, 1, ..., or once if it does not depend on the seed.

    `report` and `options`, which have the cutoffs and the parts too, are as in `tune_settings`.

    Raises:
        ValueError: fewer than one seed.
    """
    if seeds < 1:
        raise ValueError(f"seeds={seeds}: expected at least one")
    runs = []
    for trial in trials:
        for seed in range(seeds if trial.is_random else 1):
            runs.append(run_trial(split, replace(trial, seed=seed), **options))
            if report:
                report(runs[-1])
    return runs
