"""Every model may try as much as every other, and a study changes one thing."""

import dataclasses
import math

import pytest
import torch

from mindlib.data import PlantedConfig, planted_interests
from mindlib.experiments.cache import digest_of, plain
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
from mindlib.models.vector import VectorModel

TABLE = search_space()
CHOSEN = Trial("MIND-4", MIND, MINDConfig(dim=16), TRAINING)


def candidates(entry):
    base = TABLE[entry.base].candidates(None)[0] if entry.base else None
    return entry.candidates(base)


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
def test_every_model_has_the_same_number_of_different_settings(name):
    settings = candidates(TABLE[name])
    assert all(trial.name == name for trial in settings)
    assert len({digest_of(trial.identity) for trial in settings}) == len(settings)
    assert len(settings) == (1 if name in ("Random", "Popularity") else BUDGET)


def test_vector_models_share_their_training_but_for_what_is_tuned():
    tuned = {"learning_rate", "loss", "hardness", "routing_penalty"}
    for entry in TABLE.values():
        for trial in candidates(entry):
            assert differing(trial.training, TRAINING) <= tuned, trial.name
            losses = differing(trial.training, TRAINING) - {"learning_rate"}
            assert bool(losses) == entry.name.endswith((" best", " REMI")), trial.name


def test_vector_models_share_their_shape():
    table = search_space(shape={"dim": 12, "history_length": 9})
    found = [t for e in table.values() if not e.base for t in e.candidates(None) if t.trained]
    assert {trial.model for trial in found} >= {MIND}
    for trial in found:
        assert (trial.config.dim, trial.config.history_length) == (12, 9)
    assert {t.config.dim for t in table["WALS"].candidates(None)} == {12}


def test_the_literal_form_is_the_papers_and_is_tuned_in_the_learning_rate_only():
    for trial in candidates(TABLE["MIND-4 (paper)"]):
        assert trial.config == MINDConfig.paper()
    ones = candidates(TABLE["MIND-1 (paper)"])
    assert differing(ones[0].config, MINDConfig.paper()) == {"routing.max_interests"}
    assert {trial.config.routing.max_interests for trial in candidates(TABLE["MIND-1"])} == {1}


def test_what_is_built_on_another_row_needs_its_setting():
    with pytest.raises(ValueError, match="starts from the chosen setting of MIND-4"):
        TABLE["MIND-4 REMI"].candidates(None)
    base = dataclasses.replace(CHOSEN, training=dataclasses.replace(TRAINING, learning_rate=0.5))
    for trial in TABLE["MIND-4 REMI"].candidates(base):
        assert trial.config == base.config
        assert trial.training.learning_rate == 0.5


def test_all_models_can_be_built():
    world = PlantedConfig(
        num_users=10, num_clusters=2, items_per_cluster=5, max_interests=2, num_segments=2
    )
    log = planted_interests(world).log
    for entry in search_space(shape={"dim": 4}).values():
        for trial in [] if entry.base else entry.candidates(None):
            if issubclass(trial.model, VectorModel):
                model = trial.model(  # pyright: ignore[reportAbstractUsage]
                    log, trial.config, generator=torch.Generator().manual_seed(0)
                )
                assert model.config == trial.config


CHANGES = {
    "sigma": {"routing.sigma", "routing.initial_logits"},
    "power": {"power"},
    "interests": {"routing.max_interests"},
    "iterations": {"routing.iterations"},
    "adaptive": {"routing.adaptive"},
}


@pytest.mark.parametrize("study", CHANGES)
def test_a_study_changes_one_thing(study):
    rows = STUDIES[study](CHOSEN)
    assert len({trial.name for trial in rows}) == len(rows) > 1
    assert all(trial.name.startswith("MIND-4 ") for trial in rows)
    changed = set()
    for trial in rows:
        assert differing(trial.config, CHOSEN.config) <= CHANGES[study]
        assert trial.training == CHOSEN.training
        changed |= differing(trial.config, rows[0].config)
    assert changed == CHANGES[study] - {"routing.initial_logits"}
    assert len({digest_of(plain(trial.config)) for trial in rows}) == len(rows)


def test_the_noise_of_the_sigma_study_is_gaussian():
    assert {trial.config.routing.initial_logits for trial in STUDIES["sigma"](CHOSEN)} == {
        "gaussian"
    }
    assert [trial.config.power for trial in STUDIES["power"](CHOSEN)][-1] == math.inf


def test_the_ablation_goes_back_to_the_paper_in_one_factor_at_a_time():
    *single, whole = ablation(CHOSEN)
    literal = MINDConfig.paper(dim=16)
    assert whole.config == literal
    factors = {f"MIND-4 reverted: {factor.name}": factor for factor in FACTORS}
    covered = set()
    for trial in single:
        factor = factors[trial.name]
        changed = differing(trial.config, CHOSEN.config)
        assert changed
        assert changed <= {*factor.config, *(f"routing.{name}" for name in factor.routing)}
        assert changed <= differing(literal, CHOSEN.config)
        covered |= changed
    # Every reading in which the two forms differ is a row, so that no field is forgotten.
    assert covered == differing(literal, CHOSEN.config)


def test_of_the_papers_form_there_is_nothing_to_go_back_to():
    assert ablation(dataclasses.replace(CHOSEN, config=MINDConfig.paper())) == []


def test_the_study_of_negatives_changes_the_training_alone():
    rows = STUDIES["negatives"](CHOSEN)
    assert all(trial.config == CHOSEN.config for trial in rows)
    assert all(differing(trial.training, CHOSEN.training) <= {"negatives"} for trial in rows)
    numbers = [trial.training.negatives for trial in rows]
    assert numbers == sorted(set(numbers))
    assert CHOSEN.training.negatives in numbers
