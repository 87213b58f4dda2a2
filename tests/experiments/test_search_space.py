"""Every model may try as much as every other, and a study changes one thing."""

import dataclasses

import pytest
import torch

from mindlib.data import PlantedConfig, planted_interests
from mindlib.data.storage import digest_of
from mindlib.experiments.search_space import (
    BUDGET,
    FACTORS,
    STUDIES,
    TRAINING,
    ablation,
    search_space,
)
from mindlib.experiments.trial import Trial
from mindlib.models import MIND, MINDConfig
from mindlib.models.vector_model import VectorModel

TABLE = search_space()
# With one vector both losses are the same, but the trial says which.
EQ_10 = ("MIND-4, Eq. 10", "MIND-1 (paper)", "MIND-4 (paper)")
CHOSEN = Trial("MIND-4", MIND, MINDConfig(dim=16), TRAINING)


def differing(a, b, path=""):
    """The dotted names of the fields in which two configurations differ."""
    found = set()
    for field in dataclasses.fields(a):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if dataclasses.is_dataclass(one):
            found |= differing(one, other, f"{field.name}.")
        elif one != other:
            found.add(path + field.name)
    return found


@pytest.mark.parametrize("name", TABLE)
def test_every_model_has_the_same_number_of_different_candidates(name):
    candidates = TABLE[name]
    assert all(trial.name == name for trial in candidates)
    assert len({digest_of(trial.identity) for trial in candidates}) == len(candidates)
    assert len(candidates) == (1 if name in ("Random", "Popularity") else BUDGET)


def test_rates_double_from_the_lowest_and_the_paper_has_all_its_candidates_there():
    table = search_space(lowest_rate=4e-3)
    rates = {name: [t.training.learning_rate for t in row] for name, row in table.items()}
    assert sorted(set(rates["MIND-4"])) == [0.004, 0.008, 0.016, 0.032]
    assert rates["MIND-4 (paper)"] == [0.001 * 2**k for k in range(8)]


def test_vector_models_share_their_training_apart_from_what_is_tuned():
    for name, candidates in TABLE.items():
        for trial in candidates:
            losses = differing(trial.training, TRAINING) - {"learning_rate"}
            assert losses == ({"loss"} if name in EQ_10 else set()), name


def test_vector_models_share_their_shape():
    table = search_space(shape={"dim": 12, "history_length": 9})
    found = [trial for row in table.values() for trial in row if trial.is_trained]
    assert {trial.model for trial in found} >= {MIND}
    for trial in found:
        assert (trial.config.dim, trial.config.history_length) == (12, 9)
    assert {trial.config.dim for trial in table["WALS"]} == {12}


def test_the_papers_form_is_tuned_in_the_learning_rate_only():
    for trial in TABLE["MIND-4 (paper)"]:
        assert trial.config == MINDConfig.paper()
    assert differing(TABLE["MIND-1 (paper)"][0].config, MINDConfig.paper()) == {
        "routing.max_interests"
    }
    assert {trial.config.routing.max_interests for trial in TABLE["MIND-1"]} == {1}


def test_all_models_can_be_built():
    world = PlantedConfig(
        num_users=10, num_clusters=2, items_per_cluster=5, max_interests=2, num_segments=2
    )
    log = planted_interests(world).log
    for row in search_space(shape={"dim": 4}).values():
        for trial in row:
            if issubclass(trial.model, VectorModel):
                model = trial.model(  # pyright: ignore[reportAbstractUsage]
                    log, trial.config, generator=torch.Generator().manual_seed(0)
                )
                assert model.config == trial.config


@pytest.mark.parametrize("name", ["power", "interests", "iterations", "adaptive", "sigma"])
def test_a_study_changes_one_field(name):
    rows = STUDIES[name](CHOSEN)
    assert len({trial.name for trial in rows}) == len(rows) > 1
    assert all(trial.training == CHOSEN.training for trial in rows)
    fields = {trial.name.removeprefix("MIND-4 ").partition("=")[0] for trial in rows}
    changed = set.union(*(differing(trial.config, rows[0].config) for trial in rows))
    assert {field.rpartition(".")[2] for field in changed} == fields
    # The study of sigma needs Gaussian initial logits; the others start from the chosen trial.
    extra = {"routing.initial_logits"} if name == "sigma" else set()
    assert set.union(*(differing(trial.config, CHOSEN.config) for trial in rows)) == changed | extra


def test_the_ablation_goes_back_to_the_paper_in_one_factor_at_a_time():
    *single, whole = ablation(CHOSEN)
    literal = MINDConfig.paper(dim=16)
    assert whole.config == literal
    covered = set()
    for trial in single:
        changed = differing(trial.config, CHOSEN.config)
        assert changed
        assert changed <= set(FACTORS[trial.name.removeprefix("MIND-4 reverted: ")])
        assert changed <= differing(literal, CHOSEN.config)
        covered |= changed
    # Every reading in which the two forms differ is a row, so that no field is forgotten.
    assert covered == differing(literal, CHOSEN.config)


def test_of_the_papers_form_there_is_nothing_to_go_back_to():
    assert ablation(dataclasses.replace(CHOSEN, config=MINDConfig.paper())) == []
