"""From interest vectors to the top N items (§3.5, §5): scores, indexes, and merging K lists.

`mindlib.retrieval.faiss` and `mindlib.retrieval.milvus` have the indexes of those engines, which
are imported by nobody else.
"""

from mindlib.retrieval.diversity import diversify
from mindlib.retrieval.exact import ExactIndex
from mindlib.retrieval.index import VectorIndex, catalogue, search
from mindlib.retrieval.recommender import IndexRecommender
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
    "ExactIndex",
    "IndexRecommender",
    "InterestModel",
    "Recommendations",
    "Recommender",
    "Scorer",
    "VectorIndex",
    "catalogue",
    "diversify",
    "merge",
    "score_by_best_interest",
    "search",
    "top_items",
    "top_n",
]
