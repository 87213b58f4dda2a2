"""The ladder from YouTube DNN to MIND-1: both ends are the models themselves."""

import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n02_b2i.pooled import Pooled, PooledConfig
from mindlib.models import MIND, MINDConfig, YouTubeDNN, YouTubeDNNConfig
from mindlib.training import TrainingConfig, fit
from tests.conftest import unchecked

SIZES = {"dim": 8, "hidden": (12,), "history_length": 20}


@pytest.fixture(scope="module")
def split():
    world = planted_interests(
        PlantedConfig(num_users=60, num_clusters=6, items_per_cluster=8, num_segments=3), seed=0
    )
    return leave_last_out(world.log)


def twin(model, pooled, renamed):
    pooled.load_state_dict({renamed.get(k, k): v for k, v in model.state_dict().items()})
    return pooled


def test_the_mean_alone_is_youtube_dnn(split, generator):
    model = YouTubeDNN(split.log, YouTubeDNNConfig.paper(**SIZES), generator=generator)
    same = twin(model, Pooled(split.log, PooledConfig.paper(**SIZES), generator=generator), {})
    histories = split.test.histories
    torch.testing.assert_close(same.interests(histories), model.interests(histories))


def test_sum_map_and_squash_are_mind_with_one_interest(split, generator):
    routing = RoutingConfig.paper(max_interests=1)
    model = MIND(split.log, MINDConfig.paper(**SIZES, routing=routing), generator=generator)
    config = PooledConfig.paper(**SIZES, pool="sum", bilinear=True, squashed=True)
    pooled = Pooled(split.log, config, generator=generator)
    same = twin(model, pooled, {"routing.bilinear_map": "bilinear_map"})
    histories = split.test.histories
    torch.testing.assert_close(same.interests(histories), model.interests(histories))


@pytest.mark.parametrize("pool", ["mean", "sum"])
@pytest.mark.parametrize("bilinear", [True, False])
@pytest.mark.parametrize("squashed", [True, False])
def test_every_step_trains_all_its_parameters(split, pool, bilinear, squashed, generator):
    config = PooledConfig.paper(**SIZES, pool=pool, bilinear=bilinear, squashed=squashed)
    model = Pooled(split.log, config, generator=generator)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    assert ("bilinear_map" in before) == bilinear
    training = TrainingConfig(epochs=1, batch_size=64, negatives=32, monitor="Recall@10")
    fit(model, split, training, progress=False)
    moved = {n for n, v in model.named_parameters() if not torch.equal(v, before[n])}
    assert moved == set(before)


def test_padding_does_not_change_the_pooled_vector(split, generator):
    for pool in ("mean", "sum"):
        config = PooledConfig.paper(**SIZES, pool=pool)
        model = Pooled(split.log, config, generator=generator)
        histories = split.test.histories.select(slice(0, 4))
        history = histories.window(20)
        behaviors = torch.randn(4, 20, 8, generator=generator)
        garbage = behaviors + 9 * ~history.mask[:, :, None]
        a, b = (model.encode(e, history, generator=None).vectors for e in (behaviors, garbage))
        torch.testing.assert_close(a, b)


def test_a_bad_pool_is_refused():
    with pytest.raises(ValueError, match="pool='max': expected 'mean' or 'sum'"):
        unchecked(PooledConfig, pool="max")
