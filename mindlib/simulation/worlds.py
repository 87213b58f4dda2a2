"""The worlds of the online experiment, written down before its first run."""

from __future__ import annotations

from dataclasses import replace

from mindlib.data.planted import PlantedConfig

# Users of one to six interests, each number equally often, and pasts of dozens of behaviours, as
# the paper says of Tmall's users: Eq. 9 then gives three to five interests, and K = 5 to 7 is
# within what the largest K can be of use for.
SEVERAL_INTERESTS = PlantedConfig(
    num_users=2000, num_clusters=48, items_per_cluster=40, max_interests=6, events=(12, 60)
)
# The same, but for users who want one thing: several interests have nothing to find.
ONE_INTEREST = replace(SEVERAL_INTERESTS, max_interests=1)
