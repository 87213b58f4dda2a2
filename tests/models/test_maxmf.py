"""MaxMF: K maps of the mean, and the best of them."""

import pytest
import torch

from mindlib.data import Histories, planted_interests
from mindlib.models import MaxMF, MaxMFConfig, YouTubeDNN, YouTubeDNNConfig
from tests.models.compared import SMALL, WORLD, build


@pytest.fixture(scope="module")
def log():
    return planted_interests(WORLD, seed=0).log


def test_each_vector_is_a_map_of_the_mean(log):
    """v_u^k = M_k (1/n) sum_i e_i, by hand; a behaviour that comes twice counts twice."""
    model = build("maxmf-linear", log)
    assert isinstance(model, MaxMF)
    past = [3, 1, 4, 1]
    vectors, active = model.interests(Histories.from_lists([past], [[1]]))
    items, maps = model.item_vectors().tolist(), model.maps.tolist()
    mean = [sum(items[i][c] for i in past) / len(past) for c in range(16)]
    for k in range(4):
        expected = [sum(m * x for m, x in zip(row, mean, strict=True)) for row in maps[k]]
        assert vectors[0, k].tolist() == pytest.approx(expected, abs=1e-5)
    assert active.tolist() == [[True] * 4]


def test_the_head_and_the_profile_come_after_the_map(log):
    model = build("maxmf", log)
    assert isinstance(model, MaxMF)
    histories = Histories.from_lists([[3, 1, 4, 15]], [[2]])
    items = model.item_vectors()
    mean = items[torch.tensor([3, 1, 4, 15])].mean(0)
    profile = model.profile(torch.tensor([[2]]))
    expected = model.head((model.maps @ mean)[None], profile)
    torch.testing.assert_close(model.interests(histories)[0], expected.detach())


def test_one_view_and_the_identity_are_youtube_dnn(log):
    config = YouTubeDNNConfig.paper(hidden=(16,), **SMALL)
    single = YouTubeDNN(log, config, generator=torch.Generator().manual_seed(0))
    model = MaxMF(
        log,
        MaxMFConfig.paper(max_interests=1, hidden=(16,), **SMALL),
        generator=torch.Generator().manual_seed(0),
    )
    weights = single.state_dict()
    model.load_state_dict({**weights, "maps": torch.eye(16)[None]})
    histories = Histories.from_lists([[3, 1, 4, 15], [9]], [[1], [2]])
    torch.testing.assert_close(model.interests(histories)[0], single.interests(histories)[0])
