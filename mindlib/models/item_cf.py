"""Item-based collaborative filtering (Sarwar et al. 2001), the online baseline of §4.3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.option_types import ITEMS, Options
from mindlib.data.splits import Split
from mindlib.models.interaction_counts import history_counts, training_counts
from mindlib.retrieval import Recommendations, top_items

K1, B = 1.2, 0.75  # BM25's usual parameters
Similarity = Literal["cosine", "bm25"]


@dataclass(frozen=True)
class ItemCFConfig(Options):
    """Options of item-based collaborative filtering, tuned in the same way as `WALSConfig`.

    Attributes:
        similarity: how two columns of the user-item counts are compared: by their "cosine", or by
            the inner product after "bm25" weighting, which reduces the weight of active users and
            popular items.
        neighbors: the number of most similar items kept for each item, which may include itself.
    """

    similarity: Similarity = "cosine"
    neighbors: Annotated[int, ITEMS] = 200


@dataclass(frozen=True)
class ItemCF:
    """Score an item by the sum of its similarities to the behaviors (Sarwar et al. 2001).

    Unlike MIND it has no user vectors and no training by gradient. Items that are not a neighbor
    of any behavior have score 0. The library implicit computes the similarities
    (`pip install 'mindlib[baselines]'`).

    Attributes:
        similarity: a sparse matrix; row i has the neighbors of item i + 1.
    """

    similarity: Any  # a csr_matrix, whose product SciPy's types do not declare

    @staticmethod
    def fit(split: Split, config: ItemCFConfig | None = None) -> ItemCF:
        """Compute the item similarities from the training events of `split`.

        Raises:
            ImportError: implicit is not installed.
        """
        try:
            from implicit import nearest_neighbours as untyped
        except ImportError as error:
            raise ImportError("ItemCF needs implicit: pip install 'mindlib[baselines]'") from error
        implicit: Any = untyped  # its inferred parameter types are too narrow
        config = config or ItemCFConfig()
        by_item = training_counts(split).T
        if config.similarity == "cosine":
            weighted = implicit.normalize(by_item)
        else:
            weighted = implicit.bm25_weight(by_item, K1, B)
        model = implicit.ItemItemRecommender(config.neighbors, num_threads=torch.get_num_threads())
        model.fit(weighted.T.tocsr(), show_progress=False)
        return ItemCF(model.similarity)

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        """Recommend the n items that are most similar to the behaviors of each history."""
        num_items = self.similarity.shape[0]

        def score(part: Histories) -> Float[Tensor, "users items"]:
            # One sparse product is faster than implicit's loop over users.
            scores = (history_counts(part, num_items) @ self.similarity).toarray()
            return torch.nn.functional.pad(torch.from_numpy(scores).float(), (1, 0))

        return top_items(score, histories.to("cpu"), n, num_items, exclude_history=exclude_history)
