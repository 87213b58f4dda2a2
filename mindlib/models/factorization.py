"""WALS: weighted matrix factorization by alternating least squares (Hu, Koren & Volinsky 2008)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.option_types import FACTOR, SEED, SIZE, Options
from mindlib.data.splits import Split
from mindlib.models.interaction_counts import history_counts, training_counts
from mindlib.retrieval import ExactSearch


@dataclass(frozen=True)
class WALSConfig(Options):
    """Options of WALS.

    The defaults are the best of about twenty settings with d = 64 on the validation cases of *The
    Complete Journey* (leave-last-out, Recall@50); tune them for other data.

    Attributes:
        dim: d, the number of factors.
        regularization: lambda, the weight of the squared norm of the factors.
        alpha: the confidence of r events is 1 + alpha r.
        iterations: the number of iterations, each of which updates users and items once.
        seed: seed of the initial factors.
    """

    dim: Annotated[int, SIZE] = 64
    # Without a regularization, the factors of a user with few behaviors are not unique.
    regularization: Annotated[float, FACTOR] = 30.0
    alpha: Annotated[float, FACTOR] = 1.0
    iterations: Annotated[int, SIZE] = 15
    seed: Annotated[int, SEED] = 0


@dataclass(frozen=True)
class WALS(ExactSearch):
    """Weighted matrix factorization of implicit feedback (Hu, Koren & Volinsky 2008).

    Unlike MIND it has one vector for a user, x_u = (Y'Y + sum_i alpha r_ui y_i y_i' + lambda 1)^-1
    sum_i (1 + alpha r_ui) y_i, which solves a least-squares problem instead of being the output of
    a network. It is computed from the history (fold-in), so that new users and new behaviors
    require no refit. The library implicit fits the item vectors y_i
    (`pip install 'mindlib[baselines]'`).

    Attributes:
        config: options of the fit.
        model: the fitted AlternatingLeastSquares of implicit.
    """

    config: WALSConfig
    model: Any

    @staticmethod
    def fit(split: Split, config: WALSConfig | None = None) -> WALS:
        """Fit WALS to the training events of `split`.

        Raises:
            ImportError: implicit is not installed.
            ValueError: alpha is too large for this regularization.
        """
        try:
            from implicit.cpu.als import AlternatingLeastSquares
        except ImportError as error:
            raise ImportError("WALS needs implicit: pip install 'mindlib[baselines]'") from error
        config = config or WALSConfig()
        with _solving(config):
            model = AlternatingLeastSquares(
                config.dim,
                config.regularization,
                alpha=1.0,  # the matrix already contains the confidences
                iterations=config.iterations,
                num_threads=torch.get_num_threads(),
                random_state=config.seed,
            )
            model.fit(_confidence(training_counts(split), config.alpha), show_progress=False)
        return WALS(config, model)

    def interests(
        self, histories: Histories
    ) -> tuple[Float[Tensor, "users 1 dim"], Bool[Tensor, "users 1"]]:
        """Compute the user vector x_u of each history; zeros if the history is empty."""
        counts = history_counts(histories, len(self.model.item_factors))
        with _solving(self.config):
            factors = self.model.recalculate_user(
                np.arange(len(histories)), _confidence(counts, self.config.alpha)
            )
        return torch.from_numpy(factors)[:, None, :], torch.ones(len(factors), 1, dtype=torch.bool)

    def item_vectors(self) -> Float[Tensor, "items dim"]:
        """Return the item vectors y_i of the whole catalogue; row 0 is padding."""
        return torch.nn.functional.pad(torch.from_numpy(self.model.item_factors), (0, 0, 1, 0))


def _confidence(counts: csr_matrix, alpha: float) -> csr_matrix:
    """Turn nonzero counts r into the confidences 1 + alpha r."""
    confidence = counts.copy()
    confidence.data = 1 + alpha * counts.data
    return confidence


@contextmanager
def _solving(config: WALSConfig) -> Iterator[None]:
    """Limit BLAS to one thread, because its threads and those of implicit slow each other down."""
    from implicit.recommender_base import ModelFitError

    try:
        with threadpool_limits(1, "blas"):
            yield
    except (ModelFitError, ValueError) as error:
        raise ValueError(
            f"alpha={config.alpha}, regularization={config.regularization}: WALS has no solution "
            f"in single precision ({error}); lower alpha, or raise regularization"
        ) from error
