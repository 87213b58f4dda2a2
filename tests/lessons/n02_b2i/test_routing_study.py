"""Training with every seed, judged user by user; and what found and served mean."""

import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n02_b2i.routing_study import (
    HEAD,
    Difference,
    Trained,
    difference,
    found_by_weights,
    geometry,
    mind_builders,
    pooled_builders,
    row,
    small_training,
    small_world,
    train_with_seeds,
)
from mindlib.models import MIND, Interests, MINDConfig, VectorModel
from mindlib.training import TrainingConfig

pytestmark = pytest.mark.slow

TINY = MINDConfig.paper(dim=8, hidden=(12,), history_length=20)


@pytest.fixture(scope="module")
def world():
    return planted_interests(
        PlantedConfig(num_users=60, num_clusters=6, items_per_cluster=8, num_segments=3), seed=0
    )


@pytest.fixture(scope="module")
def split(world):
    return leave_last_out(world.log)


def test_a_reading_is_trained_with_every_seed_and_judged_user_by_user(world, split):
    def build(generator):
        return MIND(split.log, TINY, generator=generator)

    training = TrainingConfig(epochs=2, batch_size=64, negatives=32, monitor="Recall@10")
    result = train_with_seeds(world, split, build, training, seeds=2)
    shape = (2, len(split.test))
    assert result.hits.shape == result.served.shape == result.found.shape == shape
    assert len(result.epochs) == len(result.models) == 2
    assert result.by_seed("hits") == pytest.approx(result.hits.mean(1).tolist())
    assert result.mean("served") == pytest.approx(float(result.served.mean()))
    first, second = (model.item_vectors() for model in result.models)
    assert not torch.equal(first, second)
    again = train_with_seeds(world, split, build, training, seeds=1)
    torch.testing.assert_close(again.hits[0], result.hits[0])


class OnlyWeights(VectorModel):
    """A model of which only the weights matter."""

    def __init__(self, coupling):
        torch.nn.Module.__init__(self)
        self.history_length = 20
        self.coupling = coupling

    def encode_histories(self, histories):
        weights = self.coupling(histories)
        empty = torch.zeros(len(histories), 1, 1)
        return Interests(empty, empty[:, :, 0].bool(), weights)

    def encode(self, behaviors, history, *, generator):
        raise NotImplementedError

    def readout(self, interests, labels):
        raise NotImplementedError


def test_weights_that_follow_the_truth_find_every_interest_in_the_window(world, split):
    def truth(histories):
        clusters = torch.from_numpy(world.item_clusters)[histories.window(20).items]
        return torch.stack([(clusters == c).float() for c in range(6)], 1)

    histories = split.test.histories
    found = found_by_weights(OnlyWeights(truth), world, histories)
    clusters = torch.from_numpy(world.item_clusters)[histories.window(20).items]
    seen = torch.stack([(clusters == c).any(1) for c in range(6)], 1)
    interests = torch.from_numpy(world.interests)[histories.users]
    torch.testing.assert_close(found, (seen & interests).sum(1) / interests.sum(1))


def test_even_weights_find_at_most_one_interest(world, split):
    found = found_by_weights(OnlyWeights(lambda histories: None), world, split.test.histories)
    number = torch.from_numpy(world.interests)[split.test.histories.users].sum(1)
    assert (found * number <= 1 + 1e-5).all()
    assert found[number == 1].mean() > 0.9
    assert found[number == 4].mean() < 0.2


def trained(hits):
    values = torch.tensor(hits, dtype=torch.float64)
    return Trained(values, values, values, [1] * len(values), [])


def test_a_difference_is_paired_over_users_and_says_whether_the_seeds_agree():
    a = trained([[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]])
    b = trained([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    result = difference(a, b, "hits")
    assert result.value == pytest.approx(0.25)
    assert result.by_seed == pytest.approx([0.5, 0.0])
    assert result.low < result.value < result.high


def test_the_verdict_in_words():
    assert Difference(0.02, -0.01, 0.05, [0.02, 0.02]).verdict == "not clearly different"
    assert Difference(0.02, 0.01, 0.03, [0.02, -0.01]).verdict == "better, in 1 of 2 seeds"
    assert Difference(-0.02, -0.03, -0.01, [-0.02, -0.01]).verdict == "worse, in 2 of 2 seeds"
    assert Difference(0.021, -0.012, 0.05, []).points(1) == "+2.1 (-1.2 to +5.0)"


def test_a_row_has_a_cell_for_each_column_and_does_not_compare_the_default_with_itself():
    a, b = trained([[1.0, 0.0]]), trained([[0.0, 0.0]])
    assert len(row(a, b, 1.25)) == len(HEAD) - 1
    assert row(b, b, None).count("–") == 4
    assert row(a, b, 1.25).count("–") == 0
    assert "1.2" in row(a, b, 1.25)


def test_geometry_by_hand(world, split, generator):
    model = MIND(split.log, TINY, generator=generator)
    with torch.no_grad():
        model.routing.bilinear_map.copy_(2 * torch.eye(8))
        vectors = torch.nn.functional.one_hot(
            torch.from_numpy(world.item_clusters).clamp(min=0), 8
        ).float()
    model.item_vectors = lambda: 3 * vectors
    result = geometry(model, world, split.test.histories)
    assert result == pytest.approx((6.0, 1.0, 0.0))


def test_builders_make_the_models_that_they_name(generator):
    world, split = small_world()
    assert len(split.test) == 600
    minds = mind_builders(split, {"a": {}, "b": {"sigma": 5.0}})
    assert [minds[n](generator).config.routing for n in "ab"] == [
        RoutingConfig.paper(), RoutingConfig.paper(sigma=5.0),
    ]  # fmt: skip
    pools = pooled_builders(split, {"mean": {}, "sum": {"pool": "sum"}})
    assert [build(generator).config.pool for build in pools.values()] == ["mean", "sum"]
    assert small_training(7).epochs == 7
    assert world.interests[1:].sum(1).max() == 4


def test_geometry_compares_no_item_with_itself(world, split, generator):
    model = MIND(split.log, TINY, generator=generator)
    clusters = torch.from_numpy(world.item_clusters[1:])
    mapped = (model.item_vectors() @ model.routing.bilinear_map.T)[1:].detach()
    unit = torch.nn.functional.normalize(mapped, dim=1)
    pairs = [
        float(unit[a] @ unit[b])
        for a in range(len(unit))
        for b in range(a)
        if clusters[a] == clusters[b]
    ]
    result = geometry(model, world, split.test.histories)
    assert result.inside == pytest.approx(sum(pairs) / len(pairs), abs=1e-5)
