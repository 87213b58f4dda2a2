"""The gate: checks that decide whether a new version may be served.

The version is read back from disk, and its exported model and its index are checked:

- Integrity: all numbers are finite, no vector is zero, the catalogue is the log's.
- Agreement: it recommends the same items as the trained model.
- Quality: its Recall@N on held-out cases is not much below that of the version served now, nor
  below that of a fixed reference, because small losses that are accepted every day add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import Histories
from mindlib.data.option_types import AT_LEAST_1, Options
from mindlib.evaluation import compare, evaluate
from mindlib.online.refresh.days import HeldOutCases
from mindlib.online.serving.bundle import Bundle
from mindlib.retrieval import IndexRecommender, InterestModel, Recommender

USERS_COMPARED = 256  # users whose lists are compared in the agreement checks


@dataclass(frozen=True)
class GateConfig(Options):
    """Requirements of the gate.

    Attributes:
        cutoff: N of Recall@N.
        tolerance: fraction of the current version's recall that the new one may lose. The mean
            decides, not its interval: rejecting a good version costs a day, serving a bad one more.
        reference_tolerance: the same for the recall of the reference version.
        export_agreement: smallest mean fraction of items that the lists of the exported and of the
            trained model share, by exact search; rounding may change the order of equal scores.
        index_agreement: the same for the lists from the index and those by exact search.
    """

    cutoff: Annotated[int, AT_LEAST_1] = 50
    tolerance: Annotated[float, (0, 0.999)] = 0.1
    reference_tolerance: Annotated[float, (0, 0.999)] = 0.1
    export_agreement: Annotated[float, (1e-6, 1)] = 0.98
    index_agreement: Annotated[float, (1e-6, 1)] = 0.9


@dataclass(frozen=True)
class GateResult:
    """The outcome of the gate.

    Attributes:
        reasons: why the version is rejected; empty if it may be served.
        metrics: all measured values; later checks are skipped if an integrity check fails.
    """

    reasons: list[str]
    metrics: dict[str, float | int] = field(default_factory=dict)


def check_version(
    version: Bundle,
    model: InterestModel,
    cases: HeldOutCases,
    current: Bundle | None,
    config: GateConfig,
    reference: Bundle | None = None,
) -> GateResult:
    """Run all checks of the gate.

    Args:
        version: read back from disk.
        model: the trained model that the version was written from.
        cases: held out from the training of all these versions, encoded by the refresh's log.
        current: the version served now. None: recall has to exceed that of random lists.
        reference: an older version that stays the same from night to night; None: not compared.

    Raises:
        ValueError: the cutoff exceeds the size of a catalogue.
    """
    result = GateResult(reasons=[])
    _check_vectors(version, result)
    expected, actual = Catalogue.from_log(cases.log), version.catalogue
    if actual.fingerprint != expected.fingerprint:
        result.reasons.append(
            f"its catalogue ({len(actual)} items, {actual.fingerprint[:12]}…) is not the log's "
            f"({len(expected)} items, {expected.fingerprint[:12]}…), so its item numbers mean "
            f"other items"
        )
    if not result.reasons:
        exported, indexed = version.model, IndexRecommender(version.model, version.index)
        histories = cases.encode_for(actual)[:USERS_COMPARED].histories
        for name, one, other, described, minimum in (
            ("export", exported, model, "of the trained model", config.export_agreement),
            ("index", indexed, exported, "by exact search", config.index_agreement),
        ):
            shared = _agreement(one, other, histories, config.cutoff)
            result.metrics[f"{name} agreement"] = shared
            if not shared >= minimum:
                result.reasons.append(
                    f"its lists share {shared:.1%} of their {config.cutoff} items with those "
                    f"{described}; expected at least {minimum:.1%}"
                )
        _check_recall(version, cases, current, reference, config, result)
    return result


def _check_vectors(version: Bundle, result: GateResult) -> None:
    """Require finite, nonzero item vectors, and interests of one-item histories."""
    items = version.model.item_vectors()[1:]
    users = min(len(items), USERS_COMPARED)
    profiles = [[0] * len(version.catalogue.fields)] * users if version.catalogue.fields else None
    histories = Histories.from_lists([[number + 1] for number in range(users)], profiles)
    interests, active = version.model.interests(histories)
    for name, vectors in (("item", items), ("interest", interests[active])):
        for fault, bad in (
            ("not finite", (~vectors.isfinite()).any(1)),
            ("zero", (vectors == 0).all(1)),
        ):
            number = result.metrics[f"{name} vectors {fault}"] = int(bad.sum())
            if number:
                result.reasons.append(f"{number} of {len(vectors)} {name} vectors are {fault}")


def _agreement(one: Recommender, other: Recommender, histories: Histories, n: int) -> float:
    """Return the mean fraction of items that the lists of two recommenders share."""
    first, second = (recommender.recommend(histories, n).items for recommender in (one, other))
    shared = (first[:, :, None] == second[:, None, :]) & (first > 0)[:, :, None]
    return float(shared.any(2).double().mean())


def _check_recall(
    version: Bundle,
    cases: HeldOutCases,
    current: Bundle | None,
    reference: Bundle | None,
    config: GateConfig,
    result: GateResult,
) -> None:
    """Compare the recall with that of the older versions, or of random lists."""
    metric = f"Recall@{config.cutoff}"
    new, _ = _recall(version, cases, metric)
    value = float(new.mean())
    result.metrics.update({"cases": len(cases), metric: value})
    if current is None:
        random = config.cutoff / len(version.catalogue)
        result.metrics[f"{metric} of random lists"] = random
        if not value > random:
            result.reasons.append(
                f"{metric} is {value:.4f} in {len(cases)} cases, that of {config.cutoff} random "
                f"items of {len(version.catalogue)} is {random:.4f}"
            )
    older = (
        ("current", current, config.tolerance),
        ("reference", reference, config.reference_tolerance),
    )
    for role, bundle, tolerance in older:
        if bundle is None:
            continue
        old, known = _recall(bundle, cases, metric)
        if role == "reference":  # it cannot have the items that came after it, and is old
            new, old = new[known], old[known]
        if not len(old):
            continue
        value, old_value = float(new.mean()), float(old.mean())
        result.metrics[f"{metric} of the {role} version"] = old_value
        minimum = (1 - tolerance) * old_value
        if not value >= minimum:
            interval = f", difference {compare(new, old)}" if len(new) > 1 else ""
            result.reasons.append(
                f"{metric} is {value:.4f}, against {old_value:.4f} for the {role} version "
                f"{bundle.version} in the same {len(new)} cases{interval}; expected at least "
                f"{minimum:.4f}"
            )


def _recall(
    bundle: Bundle, cases: HeldOutCases, metric: str
) -> tuple[Float[Tensor, " cases"], Bool[Tensor, " cases"]]:
    """Return the recall of each case, and whether the version knows all targets of the case."""
    encoded = cases.encode_for(bundle.catalogue)
    cutoff = int(metric.partition("@")[2])
    recommender = IndexRecommender(bundle.model, bundle.index)
    values = evaluate(recommender, encoded, (cutoff,)).values[metric]
    known = torch.ones(len(cases), dtype=torch.bool)
    known[encoded.rows[encoded.targets > encoded.num_items]] = False
    return values, known
