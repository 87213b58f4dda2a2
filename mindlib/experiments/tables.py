"""Summaries over seeds, comparisons of models, and Markdown tables (§4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.evaluation import Estimate, compare_seeds
from mindlib.experiments.trial import Part, TrialRun

# For each metric "mean", "deviation" (None for one seed) and "seeds", the value of each seed.
Summary = Mapping[str, Mapping[str, Any]]
Values = dict[str, Float[Tensor, "seeds cases"]]


def summarize(runs: Sequence[TrialRun], part: Part = "test") -> Summary:
    """Compute each metric's mean, standard deviation and values over the seeds of one model."""
    means = [run.evaluations[part].means() for run in runs]
    summary = {}
    for metric in means[0]:
        values = [mean[metric] for mean in means]
        spread = stdev(values) if len(values) > 1 else None
        summary[metric] = {"mean": fmean(values), "deviation": spread, "seeds": values}
    return summary


def summarize_models(runs: Iterable[TrialRun]) -> dict[str, Summary]:
    """Summarize the test metrics of each model among the runs."""
    return {name: summarize(group) for name, group in _by_model(runs).items()}


def stack_seeds(runs: Sequence[TrialRun]) -> Values:
    """Stack the values of the test cases, a row for each run, for each metric."""
    found = [run.evaluation.values for run in runs]
    return {name: torch.stack([values[name] for values in found]) for name in found[0]}


def compare_models(runs: Iterable[TrialRun], a: str, b: str, metric: str) -> Estimate:
    """Compare two models on the test cases, over cases and seeds (see `compare_seeds`).

    Raises:
        ValueError: one of the models has no run; the message names those that have.
    """
    groups = _by_model(runs)
    for name in (a, b):
        if name not in groups:
            raise ValueError(f"no run of {name!r}; there are runs of {', '.join(groups)}")
    return compare_seeds(*(stack_seeds(groups[name])[metric] for name in (a, b)))


def _by_model(runs: Iterable[TrialRun]) -> dict[str, list[TrialRun]]:
    groups: dict[str, list[TrialRun]] = {}
    for run in runs:
        groups.setdefault(run.model, []).append(run)
    return groups


def markdown_table(
    header: Sequence[object], rows: Iterable[Sequence[object]], *, text_columns: int = 1
) -> str:
    """Render a Markdown table; bars inside cells are escaped.

    Args:
        text_columns: the number of leading columns aligned to the left; the others hold numbers and
            are aligned to the right.
    """
    header, *body = ([str(cell).replace("|", "\\|") for cell in row] for row in (header, *rows))
    rule = ["---" if n < text_columns else "--:" for n in range(len(header))]
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "|".join(rule) + "|"] +
                     ["| " + " | ".join(row) + " |" for row in body])  # fmt: skip


def results_table(summaries: Mapping[str, Summary], metrics: Sequence[str]) -> str:
    """Render a row for each model: mean ± standard deviation over seeds, the best in bold.

    Shares are in percent, Categories@N are numbers.
    """
    best = {metric: max(s[metric]["mean"] for s in summaries.values()) for metric in metrics}

    def cell(metric: str, value: Mapping[str, Any]) -> str:
        unit = 1 if metric.startswith("Categories@") else 100
        mean, deviation = value["mean"], value["deviation"]
        text = f"**{unit * mean:.2f}**" if mean == best[metric] else f"{unit * mean:.2f}"
        return text + (f" ± {unit * deviation:.2f}" if deviation is not None else "")

    return markdown_table(
        ["model", "seeds", *metrics],
        [
            [name, len(next(iter(s.values()))["seeds"]), *(cell(m, s[m]) for m in metrics)]
            for name, s in summaries.items()
        ],
    )
