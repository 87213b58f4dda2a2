"""Recommend with a model and an index of its item vectors."""

from __future__ import annotations

from dataclasses import dataclass

from mindlib.data.histories import Histories
from mindlib.retrieval.index import VectorIndex, digest_items, search
from mindlib.retrieval.scores import InterestModel, Recommendations


@dataclass(frozen=True)
class IndexRecommender:
    """A `Recommender` that searches an index with a model's interests.

    Attributes:
        model: computes V_u. A user without behaviours gets the interests that the model computes
            from the profile alone, as in the models' own `recommend`.
        index: of all or some of the model's item vectors (`catalogue`). After more training it is
            stale and refused.
    """

    model: InterestModel
    index: VectorIndex

    def __post_init__(self) -> None:
        vectors, ids = self.model.item_vectors(), self.index.ids
        is_known = int(ids.max()) < len(vectors)
        if not is_known or digest_items(vectors[ids.to(vectors.device)], ids) != self.index.source:
            raise ValueError(
                "the index was built from other item vectors than the model's: build it from this "
                "model's catalogue"
            )

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Return the n items with the best score of any interest, as `search` does."""
        interests, active = self.model.interests(histories)
        excluded = histories if exclude_history else None
        return search(self.index, interests, active, n, histories=excluded)
