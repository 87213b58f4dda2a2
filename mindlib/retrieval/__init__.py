"""From interest vectors to the top N items (§3.5, §5): scores, indexes, and the merge of K lists.

`mindlib.retrieval.faiss` and `mindlib.retrieval.milvus` have the indexes of these engines. They
need optional packages, so nothing here imports them; `write_index` and `load_index` do on demand.
"""

from mindlib.retrieval.engines import Engine, check_engine, load_index, write_index
from mindlib.retrieval.exact import ExactIndex, ExactSearch, top_by_best_interest
from mindlib.retrieval.index import IndexRecommender, VectorIndex, catalogue, search
from mindlib.retrieval.scores import (
    InterestModel,
    Recommendations,
    Recommender,
    merge,
    score_by_best_interest,
    top_items,
    top_n,
)

__all__ = [
    "Engine",
    "ExactIndex",
    "ExactSearch",
    "IndexRecommender",
    "InterestModel",
    "Recommendations",
    "Recommender",
    "VectorIndex",
    "catalogue",
    "check_engine",
    "load_index",
    "merge",
    "score_by_best_interest",
    "search",
    "top_by_best_interest",
    "top_items",
    "top_n",
    "write_index",
]
