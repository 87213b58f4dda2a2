"""The gate on versions that are sound: it lets the good ones pass, and names what is bad."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.data import Catalogue, Histories
from mindlib.models import MIND
from mindlib.online.refresh.days import HeldOutCases
from mindlib.online.refresh.gate import GateConfig, check_version
from mindlib.online.refresh.pipeline import load_version
from mindlib.online.serving.bundle import Bundle
from mindlib.retrieval import (
    ExactIndex,
    IndexRecommender,
    InterestModel,
    Recommendations,
    catalogue,
)
from tests.conftest import unchecked
from tests.online.refresh.world import CONFIG


@pytest.fixture(scope="module")
def version(made) -> Bundle:
    return Bundle.load(made.bundle)


@pytest.fixture(scope="module")
def cases(made) -> HeldOutCases:
    return HeldOutCases(made.trained.split.test, made.trained.split.log)


@pytest.fixture(scope="module")
def untrained(made) -> MIND:
    log = made.trained.split.log
    return MIND(log, CONFIG.model, generator=torch.Generator().manual_seed(9))


@dataclass(frozen=True)
class Dull:
    """Shows everybody the items with the largest numbers."""

    items: Float[Tensor, "items one"]

    def interests(
        self, histories: Histories
    ) -> tuple[Float[Tensor, "users interests dim"], Bool[Tensor, "users interests"]]:
        shape = (len(histories), 1)
        return torch.ones((*shape, 1)), torch.ones(shape, dtype=torch.bool)

    def item_vectors(self) -> Float[Tensor, "items one"]:
        return self.items

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        searched = IndexRecommender(self, ExactIndex.build(*catalogue(self)))
        return searched.recommend(histories, n, exclude_history=exclude_history)


def of(model: InterestModel, version: Bundle) -> Bundle:
    """A version of another model, as if it had been exported."""
    return replace(version, model=model, index=ExactIndex.build(*catalogue(model)))


def test_a_good_version_passes_beside_yesterdays(made, version, cases, registry):
    yesterday = load_version(registry, 2)
    assert len(yesterday.catalogue) < len(version.catalogue)
    verdict = check_version(version, made.trained.model, cases, yesterday, CONFIG.gate)
    assert verdict.passed, verdict.reasons
    figures = verdict.metrics
    assert figures["cases"] == len(cases)
    assert figures["difference, low"] < figures["difference, high"]
    assert figures["Recall@5"] > 2 * 5 / len(version.catalogue)


def test_a_sound_version_that_finds_less_than_yesterdays_is_refused(
    made, version, cases, untrained, registry
):
    bad = of(untrained, version)
    verdict = check_version(bad, untrained, cases, load_version(registry, 2), CONFIG.gate)
    (reason,) = verdict.reasons
    new, old = verdict.metrics["Recall@5"], verdict.metrics["Recall@5 of yesterday's"]
    assert new < 0.9 * old
    for number in (new, old, 0.9 * old):
        assert f"{number:.4f}" in reason
    assert "version 0002" in reason
    assert "95 % interval" in reason


def test_the_tolerance_decides_and_nothing_else(made, version, cases, untrained):
    bad = of(untrained, version)
    figures = check_version(bad, untrained, cases, version, CONFIG.gate).metrics
    loss = 1 - figures["Recall@5"] / figures["Recall@5 of yesterday's"]
    assert 0 < loss < 1
    for tolerance, passes in ((loss - 1e-6, False), (loss + 1e-6, True)):
        config = GateConfig(cutoff=5, tolerance=tolerance)
        assert check_version(bad, untrained, cases, version, config).passed == passes
    # Beside itself a version always passes, even with no tolerance at all.
    config = GateConfig(cutoff=5, tolerance=0.0)
    assert check_version(version, made.trained.model, cases, version, config).passed


def test_yesterdays_version_misses_what_it_does_not_know(made, version, cases, registry):
    """Both are asked the same cases, a target that came out today included."""
    yesterday = load_version(registry, 2)
    new = ~torch.isin(
        cases.cases.targets,
        torch.tensor(
            Catalogue.from_log(cases.log).encode_items(list(yesterday.catalogue.item_ids))
        ),
    )
    asked = cases.encode_for(yesterday.catalogue)
    assert bool(new.any())
    assert torch.equal(asked.targets > asked.num_items, new)
    assert len(asked) == len(cases)


def test_the_first_version_has_to_beat_chance(made, version, cases):
    assert check_version(version, made.trained.model, cases, None, CONFIG.gate).passed
    taken = torch.bincount(cases.cases.targets, minlength=cases.log.num_items + 1)
    dull = Dull(-1.0 - taken[:, None].float())
    verdict = check_version(of(dull, version), dull, cases, None, CONFIG.gate)
    (reason,) = verdict.reasons
    assert verdict.metrics["Recall@5"] < verdict.metrics["chance"]
    assert "random items" in reason
    assert f"{verdict.metrics['chance']:.4f}" in reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutoff": 0}, "cutoff=0"),
        ({"tolerance": 1.0}, "tolerance=1.0"),
        ({"tolerance": -0.1}, "tolerance=-0.1"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"export_agreement": 0.0}, "export_agreement=0.0"),
        ({"index_agreement": 1.1}, "index_agreement=1.1"),
    ],
)
def test_the_gate_refuses_impossible_settings(options, message):
    with pytest.raises(ValueError, match=message):
        unchecked(GateConfig, **options)
