"""A model and an index recommend together: as the model alone does, if the index is exact."""

import pytest
import torch

from mindlib import MIND, MINDConfig, evaluate
from mindlib.data import Histories, PlantedConfig, leave_last_out, planted_interests
from mindlib.retrieval import ExactIndex, IndexRecommender, InterestModel, Recommender, catalogue
from mindlib.retrieval.faiss import FaissConfig, FaissIndex
from tests.reliability import refuses

AREA = "Index, model and version files"


@pytest.fixture(scope="module")
def split():
    config = PlantedConfig(num_users=80, num_clusters=8, items_per_cluster=20)
    return leave_last_out(planted_interests(config, seed=0).log)


@pytest.fixture(scope="module")
def model(split):
    return MIND(split.log, MINDConfig.paper(dim=8), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def index(model):
    return ExactIndex.build(*catalogue(model))


@pytest.fixture
def cold(split):
    """Two users without behaviours and one with, of two profiles."""
    return Histories.from_lists([[], [3, 4, 5], []], profiles=[[1], [1], [2]])


def test_it_is_a_recommender(model, index):
    assert isinstance(IndexRecommender(model, index), Recommender)


@pytest.mark.parametrize("exclude_history", [True, False])
def test_with_an_exact_index_it_recommends_what_the_model_does(
    model, index, split, exclude_history
):
    histories = split.test.histories
    found = IndexRecommender(model, index).recommend(histories, 20, exclude_history=exclude_history)
    alone = model.recommend(histories, 20, exclude_history=exclude_history)
    torch.testing.assert_close(found.scores, alone.scores, atol=1e-4, rtol=1e-4)
    # Almost equal scores may come in another order.
    same = (found.items == alone.items).float().mean()
    assert same > 0.99


def test_evaluate_tells_what_an_approximate_index_costs(model, index, split):
    exact = evaluate(IndexRecommender(model, index), split.test, (20,)).means()
    alone = evaluate(model, split.test, (20,)).means()
    assert exact["HitRate@20"] == pytest.approx(alone["HitRate@20"], abs=0.02)
    coarse = FaissIndex.build(*catalogue(model), FaissConfig("IVF1,PQ1x2"))
    lossy = evaluate(IndexRecommender(model, coarse), split.test, (20,)).means()
    # Four codes for 160 items: what an item is, is lost.
    assert lossy["HitRate@20"] != exact["HitRate@20"]


def test_items_that_the_index_lacks_are_not_recommended(model, split):
    items, ids = catalogue(model)
    index = ExactIndex.build(items[99:], ids[99:])
    found = IndexRecommender(model, index).recommend(split.test.histories, 10)
    assert (found.items >= 100).all()


def test_a_cold_user_has_her_profile(model, index, cold):
    found = IndexRecommender(model, index).recommend(cold, 5)
    alone = model.recommend(cold, 5)
    assert torch.equal(found.items, alone.items)
    # Another profile, another list.
    assert found.items[0].tolist() != found.items[2].tolist()


def test_an_index_of_another_model_is_refused(model):
    items, ids = catalogue(model)
    narrow, shifted = ExactIndex.build(items[:, :3], ids), ExactIndex.build(items, ids + 1)
    for index, what in ((narrow, "dimension"), (shifted, "catalogue")):
        message, fault = "other item vectors than", f"a model with an index of another {what}"
        with refuses(AREA, fault, ValueError, match=message):
            IndexRecommender(model, index)


def test_a_stale_index_is_refused_and_one_of_some_items_is_not(split, model, index):
    items, _ = catalogue(model)
    some = torch.tensor([7, 3, 150])
    IndexRecommender(model, ExactIndex.build(items[some - 1], some))
    trained = MIND(split.log, MINDConfig.paper(dim=8), generator=torch.Generator().manual_seed(1))
    message = "the index was built from other item vectors than the model's: build it from"
    with refuses(
        AREA, "a model that was trained after its index was built", ValueError, match=message
    ):
        IndexRecommender(trained, index)


def test_the_catalogue_leaves_out_padding(model):
    assert isinstance(model, InterestModel)
    items, ids = catalogue(model)
    assert ids.tolist() == list(range(1, 161))
    assert torch.equal(items, model.item_vectors()[1:])
