from typing import Any

import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.lessons.common import films
from mindlib.models import MIND, MINDConfig
from mindlib.training import TrainingConfig, fit

WORLD = PlantedConfig(
    num_users=30, num_clusters=3, items_per_cluster=20, max_interests=2, num_segments=2
)
SETTINGS: dict[str, Any] = {"epochs": 1, "batch_size": 16, "negatives": 8}


@pytest.fixture
def split(tmp_path, monkeypatch):
    monkeypatch.setenv("MINDLIB_OUTPUT", str(tmp_path / "page.ipynb"))
    return leave_last_out(planted_interests(WORLD).log)


def test_notebooks_share_a_reference_model_that_is_trained_once(split, monkeypatch):
    config, threads = MINDConfig(dim=4), torch.get_num_threads()
    model = films.reference_model(split, 1, config, **SETTINGS)
    assert torch.get_num_threads() == threads

    def fail(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("mindlib.experiments.execution.fit", fail)
    again = films.reference_model(split, 1, config, **SETTINGS)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, rtol=0, atol=0)
    with pytest.raises(AssertionError, match="trained again"):
        films.reference_model(split, 2, config, **SETTINGS)


def test_the_reference_model_is_what_fit_makes(split):
    config = MINDConfig(dim=4)
    found = films.reference_model(split, 1, config, **SETTINGS)
    expected = MIND(split.log, config, generator=torch.Generator().manual_seed(1))
    training = TrainingConfig(
        pairs_per_user=20, schedule="cosine", learning_rate=8e-3, seed=1, **SETTINGS
    )
    fit(expected, split, training, progress=False)
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], weight, rtol=0, atol=0)
