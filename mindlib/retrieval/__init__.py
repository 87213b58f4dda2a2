"""From interest vectors to the top N items (§3.5, §5): scores, indexes, and merging K lists."""

from mindlib.retrieval.scores import (
    InterestModel,
    Recommendations,
    Recommender,
    Scorer,
    merge,
    score_by_best_interest,
    top_items,
    top_n,
)

__all__ = [
    "InterestModel",
    "Recommendations",
    "Recommender",
    "Scorer",
    "merge",
    "score_by_best_interest",
    "top_items",
    "top_n",
]
