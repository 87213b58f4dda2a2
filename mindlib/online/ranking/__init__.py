"""The ranking stage (§5): the candidates that matching has found are put into order, by DIN."""

from mindlib.online.ranking.din import DIN, Dice, DINConfig, LocalActivation
from mindlib.online.ranking.lists import (
    CandidateLists,
    CandidateScorer,
    TwoTower,
    build_candidate_lists,
)
from mindlib.online.ranking.metrics import RankingQuality, auc, evaluate_ranker, gauc
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.ranking.reranked import Reranked
from mindlib.online.ranking.training import RankingConfig, fit_ranker

__all__ = [
    "DIN",
    "CandidateLists",
    "CandidateScorer",
    "DINConfig",
    "DINRanker",
    "Dice",
    "LocalActivation",
    "RankingConfig",
    "RankingQuality",
    "Reranked",
    "TwoTower",
    "auc",
    "build_candidate_lists",
    "evaluate_ranker",
    "fit_ranker",
    "gauc",
]
