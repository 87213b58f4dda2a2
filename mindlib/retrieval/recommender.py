"""A model with an index recommends: what is served, and what the index costs in HitRate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mindlib.data.histories import Histories
from mindlib.retrieval.index import VectorIndex, search
from mindlib.retrieval.scores import InterestModel, Recommendations, Recommender


@dataclass(frozen=True)
class IndexRecommender:
    """A `Recommender` that searches an index with a model's interests.

    Attributes:
        model: gives V_u.
        index: of the model's item vectors (`catalogue`), all of them or some.
        cold: what a user without a single behaviour gets. "profile": what the model makes of her
            profile alone (without profiles, the same for everybody); this is what the models'
            own `recommend` does. A recommender, such as `Popularity`: its list; the items it
            knows have to be those of the index. "refuse": an error.
    """

    model: InterestModel
    index: VectorIndex
    cold: Literal["profile", "refuse"] | Recommender = "profile"

    def __post_init__(self) -> None:
        items, dim = self.model.item_vectors().shape
        if self.index.dim != dim:
            raise ValueError(
                f"an index of dimension {self.index.dim} for a model of dimension {dim}: build it "
                f"from this model's catalogue"
            )
        ids = self.index.ids
        if len(ids) and int(ids.max()) >= items:
            raise ValueError(
                f"the index has item {int(ids.max())}, the model knows 1 to {items - 1}: build it "
                f"from this model's catalogue"
            )

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """The n items with the best score of any interest, as complete as the index.

        Raises:
            ValueError: as `search`; or a user is cold and `cold` is "refuse".
        """
        cold = histories.lengths == 0
        if self.cold == "refuse" and cold.any():
            raise ValueError(
                f"{int(cold.sum())} of {len(cold)} users have no behaviours (the first is number "
                f'{int(cold.nonzero()[0])}); give them some, or choose cold="profile" or a '
                f"recommender such as Popularity"
            )
        vectors, active = self.model.interests(histories)
        if not isinstance(self.cold, str):
            active = active & ~cold[:, None].to(active.device)  # nothing to search for
        past = histories if exclude_history else None
        found = search(self.index, vectors, active, n, histories=past)
        if isinstance(self.cold, str) or not cold.any():
            return found
        rows = cold.nonzero()[:, 0]
        instead = self.cold.recommend(histories.select(rows), n, exclude_history=exclude_history)
        rows = rows.cpu()
        found.items[rows] = instead.items.cpu()
        found.scores[rows] = instead.scores.cpu().to(found.scores.dtype)
        return found
