"""From the programme's rows to trials: the setting of each, chosen now or chosen before (§4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mindlib.data.splits import Split
from mindlib.experiments.search_space import BUDGET, Entry
from mindlib.experiments.trial import Trial, TrialRun, run_trial, tune


def recorded_choices(results: Mapping[str, Any]) -> dict[str, int]:
    """Which of its settings validation chose for each row of what was recorded."""
    return {row["name"]: row["tuned"]["chosen"] for row in results["rows"] if row["tuned"]}


def recorded_settings(
    table: Mapping[str, Entry], names: Sequence[str], places: Mapping[str, int]
) -> dict[str, Trial]:
    """The rows' trials with the settings at these places.

    Args:
        table: as `search_space` makes it.
        names: of the rows.
        places: as `recorded_choices` finds them.

    Raises:
        KeyError: a row has several settings and no place says which.
    """
    found: dict[str, Trial] = {}

    def settle(name: str) -> Trial:
        if name not in found:
            entry = table[name]
            candidates = entry.candidates(settle(entry.base) if entry.base else None)
            if len(candidates) > 1 and name not in places:
                raise KeyError(
                    f"no setting was chosen for {name!r}; there is one for {', '.join(places)}"
                )
            found[name] = candidates[places.get(name, 0)]
        return found[name]

    return {name: settle(name) for name in names}


def tune_settings(
    split: Split, table: Mapping[str, Entry], names: Sequence[str], **options: Any
) -> dict[str, Trial]:
    """The rows' trials with the settings that the validation cases of this split choose.

    Args:
        options: passed to `tune`.
    """
    found: dict[str, Trial] = {}

    def settle(name: str) -> Trial:
        if name not in found:
            entry = table[name]
            candidates = entry.candidates(settle(entry.base) if entry.base else None)
            several = len(candidates) > 1
            found[name] = (
                tune(split, candidates, budget=BUDGET, **options).best if several else candidates[0]
            )
        return found[name]

    return {name: settle(name) for name in names}


def run_seeds(
    split: Split,
    trials: Mapping[str, Trial],
    table: Mapping[str, Entry],
    *,
    seeds: int,
    cutoffs: Sequence[int],
    cache: Path,
    **options: Any,
) -> list[TrialRun]:
    """Each trial with the seeds 0, 1, ... on the test cases; once where a seed changes nothing.

    Args:
        trials: by the row's name in `table`.
        options: passed to `run_trial`.

    Raises:
        ValueError: fewer than one seed.
    """
    if seeds < 1:
        raise ValueError(f"seeds={seeds}: expected at least one")
    return [
        run_trial(split, replace(trial, seed=seed), cutoffs, cache, parts=("test",), **options)
        for name, trial in trials.items()
        for seed in range(seeds if table[name].drawn else 1)
    ]
