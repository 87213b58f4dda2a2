"""The ranking stage (§5): DIN orders the candidates that matching has retrieved."""

from mindlib.online.ranking.din import DIN, DINConfig
from mindlib.online.ranking.lists import (
    CandidateLists,
    CandidateScorer,
    Reranked,
    TwoTower,
    build_candidate_lists,
)
from mindlib.online.ranking.metrics import RankingQuality, evaluate_ranker
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.ranking.training import RankingConfig, fit_ranker

__all__ = [
    "DIN",
    "CandidateLists",
    "CandidateScorer",
    "DINConfig",
    "DINRanker",
    "RankingConfig",
    "RankingQuality",
    "Reranked",
    "TwoTower",
    "build_candidate_lists",
    "evaluate_ranker",
    "fit_ranker",
]
