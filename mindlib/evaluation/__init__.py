"""Metrics over the whole catalogue (§4.1), statistics of comparisons, model diagnostics."""

from mindlib.evaluation.metrics import (
    Comparison,
    Evaluation,
    compare,
    evaluate,
    history_categories,
    interest_cosine,
    recovered_interests,
    routing_entropy,
)

__all__ = [
    "Comparison",
    "Evaluation",
    "compare",
    "evaluate",
    "history_categories",
    "interest_cosine",
    "recovered_interests",
    "routing_entropy",
]
