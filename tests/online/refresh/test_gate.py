"""The gate's result on intact versions; broken ones are in test_pipeline.py."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from mindlib.data import Catalogue
from mindlib.evaluation import evaluate
from mindlib.models import MIND
from mindlib.online.refresh import gate
from mindlib.online.refresh.days import HeldOutCases
from mindlib.online.refresh.gate import GateConfig, check_version
from mindlib.online.refresh.pipeline import load_version
from mindlib.online.serving.bundle import Bundle
from mindlib.retrieval import ExactIndex, IndexRecommender, InterestModel, catalogue
from tests.conftest import unchecked
from tests.online.refresh.world import CONFIG

pytestmark = pytest.mark.slow


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


def of(model: InterestModel, version: Bundle) -> Bundle:
    """Replace the model and the index of a version."""
    return replace(version, model=model, index=ExactIndex.build(*catalogue(model)))


def test_a_good_version_passes_the_comparison_with_the_current_one(made, version, cases, registry):
    current = load_version(registry, 2)
    assert len(current.catalogue) < len(version.catalogue)
    result = check_version(version, made.trained.model, cases, current, CONFIG.gate)
    assert not result.reasons
    figures = result.metrics
    assert figures["cases"] == len(cases)
    assert figures["Recall@5"] > 2 * 5 / len(version.catalogue)


def test_a_version_with_lower_recall_than_the_current_one_is_rejected(
    made, version, cases, untrained, registry
):
    bad = of(untrained, version)
    result = check_version(bad, untrained, cases, load_version(registry, 2), CONFIG.gate)
    (reason,) = result.reasons
    new, old = result.metrics["Recall@5"], result.metrics["Recall@5 of the current version"]
    assert new < 0.9 * old
    for number in (new, old, 0.9 * old):
        assert f"{number:.4f}" in reason
    assert "the current version 0002" in reason
    assert ", difference " in reason


def test_the_tolerance_decides_and_nothing_else(made, version, cases, untrained):
    bad = of(untrained, version)
    figures = check_version(bad, untrained, cases, version, CONFIG.gate).metrics
    loss = 1 - figures["Recall@5"] / figures["Recall@5 of the current version"]
    assert 0 < loss < 1
    for tolerance, passes in ((loss - 1e-6, False), (loss + 1e-6, True)):
        config = GateConfig(cutoff=5, tolerance=tolerance)
        reasons = check_version(bad, untrained, cases, version, config).reasons
        assert (not reasons) == passes
    # Compared with itself, a version passes without any tolerance.
    config = GateConfig(cutoff=5, tolerance=0.0)
    assert not check_version(version, made.trained.model, cases, version, config).reasons


def test_a_target_that_the_current_version_lacks_counts_as_its_miss(made, version, cases, registry):
    current = load_version(registry, 2)
    new = ~torch.isin(
        cases.cases.targets,
        torch.tensor(Catalogue.from_log(cases.log).encode_items(list(current.catalogue.item_ids))),
    )
    encoded = cases.encode_for(current.catalogue)
    assert bool(new.any())
    assert torch.equal(encoded.targets > encoded.num_items, new)
    assert len(encoded) == len(cases)


def test_the_first_version_has_to_beat_random_lists(made, version, cases):
    assert not check_version(version, made.trained.model, cases, None, CONFIG.gate).reasons
    vectors, ids = catalogue(version.model)
    source = ExactIndex.build(vectors, ids).source
    worst_first = ExactIndex(ids, vectors.shape[1], source, -vectors)
    worst = replace(version, index=worst_first)
    result = check_version(worst, made.trained.model, cases, None, CONFIG.gate)
    *_, reason = result.reasons
    assert result.metrics["Recall@5"] < result.metrics["Recall@5 of random lists"]
    assert "random items" in reason
    assert f"{result.metrics['Recall@5 of random lists']:.4f}" in reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutoff": 0}, "cutoff=0"),
        ({"tolerance": 1.0}, "tolerance=1.0"),
        ({"tolerance": -0.1}, "tolerance=-0.1"),
        ({"reference_tolerance": 1.5}, "reference_tolerance=1.5"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"export_agreement": 0.0}, "export_agreement=0.0"),
        ({"index_agreement": 1.1}, "index_agreement=1.1"),
    ],
)
def test_impossible_requirements_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        unchecked(GateConfig, **options)


def test_ten_nights_of_minus_nine_percent_are_stopped(version, made, cases, monkeypatch):
    def recall(bundle: Bundle, cases: HeldOutCases, metric: str) -> tuple[torch.Tensor, ...]:
        values = torch.full((len(cases),), 0.5 * 0.91 ** int(bundle.version))
        return values, torch.ones(len(cases), dtype=torch.bool)

    monkeypatch.setattr(gate, "_recall", recall)
    nights = [replace(version, version=f"{night:04d}") for night in range(11)]
    passed: dict[str, list[str]] = {"yesterday": [], "both": []}
    for current, new in itertools.pairwise(nights):
        for name, reference in (("yesterday", None), ("both", nights[0])):
            arguments = (new, made.trained.model, cases, current, CONFIG.gate, reference)
            result = check_version(*arguments)
            passed[name] += [] if result.reasons else [new.version]
    assert passed["yesterday"] == [night.version for night in nights[1:]]
    assert passed["both"] == ["0001"]


def test_a_version_below_the_reference_is_rejected_with_both_figures(
    made, version, cases, untrained, registry
):
    bad, reference = of(untrained, version), load_version(registry, 1)
    result = check_version(bad, untrained, cases, bad, CONFIG.gate, reference)
    (reason,) = result.reasons
    assert "the reference version 0001" in reason
    assert f"{result.metrics['Recall@5 of the reference version']:.4f}" in reason


def test_the_reference_is_compared_in_the_cases_whose_targets_it_knows(
    made, version, cases, registry
):
    reference = load_version(registry, 1)
    encoded = cases.encode_for(reference.catalogue)
    known = encoded.targets <= encoded.num_items
    assert not known.all()
    result = check_version(version, made.trained.model, cases, version, CONFIG.gate, reference)
    values = evaluate(IndexRecommender(reference.model, reference.index), encoded, (5,))
    rows = torch.ones(len(cases), dtype=torch.bool)
    rows[encoded.rows[~known]] = False
    expected = float(values.values["Recall@5"][rows].mean())
    assert result.metrics["Recall@5 of the reference version"] == pytest.approx(expected)
