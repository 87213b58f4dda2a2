"""The planted worlds of the online experiment, fixed before any of the compared arms ran in them.

One property was corrected after a first look at popularity and at the truth alone. With 48 clusters
and 96 candidates, popularity had a click-through rate of 1.70 % and the truth 2.03 %: a list that
holds two items of every cluster needs no retrieval. Tmall has more categories (6,377) than
candidates (1,000), and so have these worlds now (100 clusters, 80 candidates: 1.10 % and 2.05 %).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mindlib.data.planted import PlantedConfig
from mindlib.data.splits import Split

# One to six interests a user, each number equally often, and histories of dozens of behaviours, as
# the paper reports of Tmall: Eq. 9 then gives three to five interests, so K = 5 to 7 can be useful.
SEVERAL_INTERESTS = PlantedConfig(
    num_users=20_000, num_clusters=100, items_per_cluster=40, max_interests=6, events=(12, 60)
)
# One interest a user, so several vectors have nothing to find. The histories are shorter: a planted
# user never meets an item twice, and long histories would use up the only cluster.
ONE_INTEREST = replace(SEVERAL_INTERESTS, max_interests=1, events=(8, 24))


def restrict_training(split: Split, users: int) -> Split:
    """Return the split with training and validation restricted to its first users.

    A test needs many users and a model of a planted world few; the others have a history that no
    model was trained on, as users have between two training runs.

    Raises:
        ValueError: fewer than one user, or more than the log has.
    """
    if not 1 <= users <= split.log.num_users:
        raise ValueError(
            f"users={users}: expected 1 to {split.log.num_users}, the number of users in the log"
        )
    cases = split.validation
    return replace(
        split,
        train_events=split.train_events & (split.log.users <= users),
        validation=cases.head(int(np.count_nonzero(cases.histories.users.numpy() <= users))),
    )
