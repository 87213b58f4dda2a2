"""WALS: weighted matrix factorisation by alternating least squares (Hu, Koren & Volinsky 2008)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.splits import Split
from mindlib.models.counts import history_counts, training_counts
from mindlib.retrieval import Recommendations, score_by_best_interest, top_items


@dataclass(frozen=True)
class WALSConfig:
    """What WALS is fitted with.

    The defaults are the best on the validation cases of *The Complete Journey* (leave-last-out,
    Recall@50) of some twenty trials with d = 64; other data want other ones.

    Attributes:
        dim: d, the factors.
        regularization: lambda.
        alpha: an item met r times has the confidence 1 + alpha r, one never met 1.
        iterations: of the alternation.
        seed: of the initial factors.
    """

    dim: int = 64
    regularization: float = 30.0
    alpha: float = 1.0
    iterations: int = 15
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"dim={self.dim}: expected a dimension >= 1")
        if self.iterations < 1:
            raise ValueError(f"iterations={self.iterations}: expected at least 1")
        if not (self.regularization > 0 and math.isfinite(self.regularization)):
            # With 0 a user without behaviours, or with few, has no unique factors.
            raise ValueError(f"regularization={self.regularization}: expected a positive number")
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise ValueError(f"alpha={self.alpha}: expected a positive number")


@dataclass(frozen=True)
class WALS:
    """One vector a user, which is not learnt but solved for: an `InterestModel` with K = 1.

    The vectors y_i of the items are fitted on the training events. A user's is the best for her
    past, whoever she is: x_u = (Y'Y + sum_i alpha r_ui y_i y_i' + lambda 1)^-1 sum_i (1 + alpha
    r_ui) y_i. So a past that has grown since, and a new user, are answered as everybody else.

    The factors are implicit's (`pip install mindlib[baselines]`).

    Attributes:
        config: what it was fitted with.
        model: implicit's AlternatingLeastSquares, fitted.
    """

    config: WALSConfig
    model: Any

    @staticmethod
    def fit(split: Split, config: WALSConfig | None = None) -> WALS:
        """Fit on the training events of `split`.

        Raises:
            ImportError: implicit is not installed.
        """
        try:
            from implicit.cpu.als import AlternatingLeastSquares
        except ImportError as error:
            raise ImportError("WALS needs implicit: pip install 'mindlib[baselines]'") from error
        config = config or WALSConfig()
        with _one_blas_thread():
            model = AlternatingLeastSquares(
                config.dim,
                config.regularization,
                alpha=1.0,  # the confidences come with the matrix
                iterations=config.iterations,
                num_threads=torch.get_num_threads(),
                random_state=config.seed,
            )
            model.fit(_confidence(training_counts(split), config.alpha), show_progress=False)
        return WALS(config, model)

    def interests(
        self, histories: Histories
    ) -> tuple[Float[Tensor, "users 1 dim"], Bool[Tensor, "users 1"]]:
        """x_u for each past; zeros where it is empty."""
        past = history_counts(histories, len(self.model.item_factors))
        with _one_blas_thread():
            factors = self.model.recalculate_user(
                np.arange(len(histories)), _confidence(past, self.config.alpha)
            )
        return torch.from_numpy(factors)[:, None, :], torch.ones(len(factors), 1, dtype=torch.bool)

    def item_vectors(self) -> Float[Tensor, "items dim"]:
        """y_i for the whole catalogue; row 0 is padding."""
        return torch.nn.functional.pad(torch.from_numpy(self.model.item_factors), (0, 0, 1, 0))

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """The n items with the largest y_i' x_u."""
        items = self.item_vectors()

        def score(part: Histories) -> Float[Tensor, "users items"]:
            return score_by_best_interest(*self.interests(part), items)

        return top_items(
            score, histories.to("cpu"), n, len(items) - 1, exclude_history=exclude_history
        )


def _confidence(counts: csr_matrix, alpha: float) -> csr_matrix:
    """1 + alpha r, where something was met."""
    confidence = counts.copy()
    confidence.data = 1 + alpha * counts.data
    return confidence


def _one_blas_thread() -> threadpool_limits:
    """implicit has threads of its own, a user each; with those of BLAS inside it is far slower."""
    return threadpool_limits(1, "blas")
