"""In planted worlds the tuned MIND recovers more of a user's interests than the paper's."""

from functools import cache

import pytest
import torch

from mindlib.data import leave_last_out, planted_interests
from mindlib.evaluation import evaluate
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MIND, MINDConfig
from mindlib.training import fit
from tests.models.compared import SMALL, WORLD
from tests.models.test_learning import TRAINING
from tests.recovery import recovered_interests

pytestmark = pytest.mark.slow

CONFIGS = {
    "the paper's": MINDConfig.paper(hidden=(16,), **SMALL),
    "tuned": MINDConfig(hidden=(16,), **SMALL),
    "tuned, one interest": MINDConfig(
        hidden=(16,), routing=RoutingConfig(max_interests=1), **SMALL
    ),
}


@cache
def trained(name: str, seed: int) -> tuple[float, float]:
    """The share of planted interests recovered, and HitRate@10, on another world for each seed."""
    world = planted_interests(WORLD, seed=seed)
    split = leave_last_out(world.log)
    model = MIND(split.log, CONFIGS[name], generator=torch.Generator().manual_seed(seed))
    fit(model, split, TRAINING, device="cpu", progress=False)
    recovered = recovered_interests(model, world, split.test.histories, nearest=5)
    hits = evaluate(model, split.test, (10,)).means()["HitRate@10"]
    return float(recovered.mean()), hits


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_recovers_more_planted_interests_than_the_paper_s_form_and_than_one_vector(seed):
    recovered = {name: trained(name, seed)[0] for name in CONFIGS}
    assert recovered["tuned"] > recovered["the paper's"] + 0.1
    assert recovered["tuned"] > recovered["tuned, one interest"] + 0.2


def test_it_hits_no_less_than_the_paper_s_form():
    hits = {name: sum(trained(name, seed)[1] for seed in range(3)) / 3 for name in CONFIGS}
    assert hits["tuned"] > hits["the paper's"]
