"""A planted log that is trained in a second, shared by the tests of steps and of `fit`."""

import pytest

from mindlib.data import PlantedConfig, Split, leave_last_out, planted_interests


@pytest.fixture(scope="package")
def split() -> Split:
    config = PlantedConfig(num_users=80, num_clusters=4, items_per_cluster=5, num_segments=2)
    return leave_last_out(planted_interests(config, seed=0).log)
