"""Whom several interests help: the breadth of histories, and recorded gains (§4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.histories import History
from mindlib.evaluation import Estimate
from mindlib.experiments.results import Results, recorded_difference, recorded_rows
from mindlib.experiments.tables import compare_models
from mindlib.experiments.trial import TrialRun

Rows = list[tuple[str, Estimate | None]]
Groups = list[tuple[str, Estimate]]


def category_entropy(
    history: History, categories: Int[Tensor, " items_plus_one"]
) -> Float[np.ndarray, " users"]:
    """Compute the entropy of the categories of each history, in bits; category 0 is left out."""
    codes = categories[history.items] * history.mask
    counts = torch.nn.functional.one_hot(codes)[:, :, 1:].sum(1).double()
    share = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return (torch.special.entr(share).sum(1) / math.log(2)).numpy()


def as_results(runs: Sequence[TrialRun]) -> Results:
    """Convert runs to the form of recorded results: every two models, compared in every metric."""
    names = dict.fromkeys(run.model for run in runs)
    comparisons = []
    for a, b in combinations(names, 2):
        estimates = {m: compare_models(runs, a, b, m) for m in runs[0].evaluation.values}
        facts = [
            {"metric": m, "difference": e.value, "low": e.low, "high": e.high, "p_value": e.p_value}
            for m, e in estimates.items()
        ]
        a, b = (name.removesuffix(" (ours)") for name in (a, b))
        comparisons.append({"study": None, "a": a, "b": b, "all": facts})
    return {"comparisons": comparisons}


def study_changes(results: Results, study: str, metric: str, base: str, symbol: str = "") -> Rows:
    """Read by how much each row of a recorded study differs from its row `base`, if there is one.

    Args:
        symbol: replaces the name of the field, as in "K = 2".
    """
    rows: Rows = []
    for name in recorded_rows(results, study):
        found = recorded_difference(results, name, base, metric, study)
        if found and not name.endswith(" tuned"):
            changed = name.removeprefix("MIND-4 ").removeprefix("reverted: ")
            value = changed.rpartition("=")[2].replace("inf", "∞")
            rows.append((f"{symbol} = {value}" if symbol else changed, found))
    return rows


def recorded_groups(results: Results, a: str, b: str, by: str) -> Groups:
    """Read the recorded differences of two models by group of users, and the trend as the last row.

    The rows are empty if the users were not grouped by this.
    """
    for entry in results["comparisons"]:
        if (entry["study"], entry["a"], entry["b"]) == (None, a, b) and "groups" in entry:
            if (found := entry["groups"].get(by)) is None:
                return []
            rows = [
                (
                    "–".join(f"{n:,}" for n in dict.fromkeys((x["least"], x["most"]))),
                    Estimate(x["difference"], x["low"], x["high"]),
                )
                for x in found["groups"]
            ]
            return [*rows, ("per doubling", Estimate(**found["per_doubling"]))]
    return []
