"""Metrics over the whole catalogue (§4.1), confidence intervals, and model diagnostics."""

from mindlib.evaluation.diagnostics import interest_cosine, routing_entropy
from mindlib.evaluation.metrics import Evaluation, evaluate, history_categories
from mindlib.evaluation.statistics import (
    Estimate,
    Verdict,
    compare,
    compare_seeds,
    holm,
    mean_estimate,
    share_estimate,
    trend,
    verdict,
)

__all__ = [
    "Estimate",
    "Evaluation",
    "Verdict",
    "compare",
    "compare_seeds",
    "evaluate",
    "history_categories",
    "holm",
    "interest_cosine",
    "mean_estimate",
    "routing_entropy",
    "share_estimate",
    "trend",
    "verdict",
]
