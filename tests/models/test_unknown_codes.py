"""Items and profile codes that a model was not built for are refused by name."""

import pytest
import torch

from mindlib.data import Histories, PlantedConfig, leave_last_out, planted_interests
from mindlib.models import MIND, WALS, ItemCF, MINDConfig, Popularity
from mindlib.online.ranking.din import DIN, DINConfig
from tests.models.compared import BUILDS, build
from tests.reliability import refuses

CONFIG = PlantedConfig(num_users=40, num_clusters=4, items_per_cluster=5, num_segments=2)
SPLIT = leave_last_out(planted_interests(CONFIG, seed=0).log)
UNKNOWN = SPLIT.log.num_items + 1
MESSAGE = rf"item {UNKNOWN}: the model has the items 1 to {UNKNOWN - 1}; encode histories with"


def mind() -> MIND:
    config = MINDConfig(dim=8, hidden=(8,), history_length=5)
    return MIND(SPLIT.log, config, generator=torch.Generator().manual_seed(0)).eval()


def test_an_item_that_the_model_does_not_know_is_refused():
    histories = Histories.from_lists([[1, 2], [3, UNKNOWN]], [[0], [0]])
    with refuses(
        "Configuration",
        "a history has an item that the model was not built for",
        ValueError,
        match=MESSAGE,
    ):
        mind().recommend(histories, 5)
    with pytest.raises(ValueError, match=MESSAGE):
        mind().interests(histories)


def test_it_is_refused_even_if_it_is_older_than_the_window():
    histories = Histories.from_lists([[UNKNOWN, 1, 2, 3, 4, 5]], [[0]])
    mind().recommend(histories, 5, exclude_history=False)  # it is never looked up
    with pytest.raises(ValueError, match=MESSAGE):
        mind().recommend(histories, 5)


@pytest.mark.parametrize("name", BUILDS)
def test_every_vector_model_refuses_it(name):
    model = build(name, SPLIT.log).eval()
    with pytest.raises(ValueError, match=MESSAGE):
        model.interests(Histories.from_lists([[UNKNOWN]], [[0]]))


def test_the_other_models_refuse_it():
    histories = Histories.from_lists([[1, UNKNOWN]], [[0]])
    for model in (Popularity(SPLIT.train_counts), ItemCF.fit(SPLIT), WALS.fit(SPLIT)):
        with pytest.raises(ValueError, match=MESSAGE):
            model.recommend(histories, 5)
    with pytest.raises(ValueError, match=MESSAGE):
        WALS.fit(SPLIT).interests(histories)


def test_the_ranker_refuses_it_in_the_history_and_among_the_candidates():
    config = DINConfig(dim=4, activation_units=4, hidden=(4,), history_length=5)
    din = DIN.from_log(SPLIT.log, config, generator=torch.Generator().manual_seed(0)).eval()
    for item, candidate in ((UNKNOWN, 1), (1, UNKNOWN)):
        with pytest.raises(ValueError, match=MESSAGE):
            din.score_lists(Histories.from_lists([[item]], [[0]]), torch.tensor([[candidate]]))


def test_a_profile_code_of_no_value_is_refused():
    """It would be read from the rows of the next field."""
    with refuses(
        "Configuration",
        "a history has a profile code that the model was not built for",
        ValueError,
        match=r"profile codes \[\[99\]\]: expected 1 columns, each below \(3,\); encode them with",
    ):
        mind().interests(Histories.from_lists([[1]], [[99]]))
    with refuses(
        "Configuration",
        "a history lacks the profile of a model with profiles",
        ValueError,
        match=r"profile codes \[\[\]\]: expected 1 columns",
    ):
        mind().interests(Histories.from_lists([[1]]))


def test_a_model_that_uses_no_profile_takes_any():
    model = build("sasrec", SPLIT.log).eval()
    for profiles in (None, [[99]]):
        vectors, _ = model.interests(Histories.from_lists([[1]], profiles))
        assert vectors.isfinite().all()
