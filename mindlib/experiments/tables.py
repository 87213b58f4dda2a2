"""A run = (model, data, seed) -> a row (§4): many models on the same cases, with their spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.splits import Split
from mindlib.evaluation import Estimate, Evaluation, compare, evaluate
from mindlib.models.baselines import Popularity, Random
from mindlib.models.vector import VectorModel
from mindlib.retrieval import Recommender
from mindlib.training import Fit, TrainingConfig, fit

Build = Callable[[torch.Generator], VectorModel]


@runtime_checkable
class Judged(Protocol):
    """A run as tables see it: a `Run`, or a `mindlib.experiments.trial.TrialRun`."""

    @property
    def model(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def evaluation(self) -> Evaluation: ...


@dataclass(frozen=True)
class Run:
    """One model, trained with one seed, judged on the test cases.

    Attributes:
        fit: how it was trained; None for what is not trained.
    """

    model: str
    seed: int
    recommender: Recommender
    evaluation: Evaluation
    fit: Fit | None


def run_all(
    split: Split,
    models: Mapping[str, Build],
    training: TrainingConfig,
    *,
    seeds: int,
    cutoffs: Sequence[int],
    device: str = "auto",
    progress: bool = True,
) -> list[Run]:
    """Random and Popularity, then each model with each seed: the same data, budget and cases.

    Args:
        models: by name, what builds a model from a generator for its initial weights.
        training: its seed is replaced by the run's.
        seeds: each model is trained with seeds 0..seeds - 1. (Popularity draws nothing: one run.)
        cutoffs: the N of the metrics.

    Raises:
        ValueError: fewer than one seed.
    """
    if seeds < 1:
        raise ValueError(f"seeds={seeds}: expected at least one")

    def judge(name: str, seed: int, recommender: Recommender, how: Fit | None = None) -> Run:
        result = evaluate(
            recommender, split.test, cutoffs, exclude_history=training.exclude_history
        )
        return Run(name, seed, recommender, result, how)

    runs = [judge("Random", seed, Random(split.log.num_items, seed)) for seed in range(seeds)]
    runs.append(judge("Popularity", 0, Popularity(split.train_counts)))
    for name, build in models.items():
        for seed in range(seeds):
            model = build(torch.Generator().manual_seed(seed))
            how = fit(model, split, replace(training, seed=seed), device=device, progress=progress)
            runs.append(judge(name, seed, model, how))
    return runs


def summary(runs: Sequence[Judged]) -> pl.DataFrame:
    """For each model and metric the mean and the standard deviation over seeds.

    Columns: model, metric, mean, deviation (null with one seed), seeds.
    """
    rows = [
        {"model": run.model, "metric": metric, "value": value}
        for run in runs
        for metric, value in run.evaluation.means().items()
    ]
    return (
        pl.DataFrame(rows)
        .group_by("model", "metric", maintain_order=True)
        .agg(
            pl.col("value").mean().alias("mean"),
            pl.col("value").std().alias("deviation"),
            pl.len().alias("seeds"),
        )
    )


def table(runs: Sequence[Judged], metrics: Sequence[str]) -> str:
    """A Markdown table in percent, a row for each model: mean ± standard deviation over seeds."""
    numbers = {(row["model"], row["metric"]): row for row in summary(runs).to_dicts()}
    lines = [
        "| model | seeds | " + " | ".join(metrics) + " |",
        "|---|--:" * 1 + "|--:" * len(metrics) + "|",
    ]
    for model in dict.fromkeys(run.model for run in runs):
        cells = []
        for metric in metrics:
            row = numbers[model, metric]
            spread = f" ± {100 * row['deviation']:.2f}" if row["deviation"] is not None else ""
            cells.append(f"{100 * row['mean']:.2f}{spread}")
        seeds = numbers[model, metrics[0]]["seeds"]
        lines.append(f"| {model} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compare_models(runs: Sequence[Judged], a: str, b: str, metric: str) -> Estimate:
    """The paired comparison of two models over the test cases, each case averaged over seeds.

    Raises:
        ValueError: one of the models has no run; the message names those that have.
    """
    return compare(_by_case(runs, a, metric), _by_case(runs, b, metric))


def _by_case(runs: Sequence[Judged], model: str, metric: str) -> Float[Tensor, " cases"]:
    values = [run.evaluation.values[metric] for run in runs if run.model == model]
    if not values:
        known = ", ".join(dict.fromkeys(run.model for run in runs))
        raise ValueError(f"no run of {model!r}; there are runs of {known}")
    return torch.stack(values).mean(0)
