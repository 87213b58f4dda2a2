"""The gate: checks that decide whether a new version may be served.

The version is read back from disk, and its exported model and its index are checked:

- Integrity: all numbers are finite, no vector is zero, the catalogue is the log's.
- Agreement: it recommends the same items as the trained model.
- Quality: its Recall@N on held-out cases is not much below that of the version served now.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import Histories
from mindlib.data.option_types import AT_LEAST_1, check_options
from mindlib.evaluation import compare, evaluate
from mindlib.online.refresh.days import HeldOutCases
from mindlib.online.serving.bundle import Bundle
from mindlib.retrieval import IndexRecommender, InterestModel, Recommender

USERS_COMPARED = 256  # users whose lists are compared in the agreement checks


@dataclass(frozen=True)
class GateConfig:
    """Requirements of the gate.

    Attributes:
        cutoff: N of Recall@N.
        tolerance: fraction of the current version's recall that the new one may lose. The mean
            decides, not its interval: with few cases a good version may be rejected, which costs a
            day of freshness, whereas serving a bad one costs more.
        export_agreement: smallest mean fraction of items that the lists of the exported and of the
            trained model share, both by exact search. It is below 1 because two scores that differ
            only by rounding may be ordered differently.
        index_agreement: the same for the lists from the index and those by exact search.
    """

    cutoff: int = 50
    tolerance: float = 0.1
    export_agreement: float = 0.98
    index_agreement: float = 0.9

    def __post_init__(self) -> None:
        check_options(self, cutoff=AT_LEAST_1)
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance={self.tolerance}: expected a fraction, 0 or more, below 1")
        for name in ("export_agreement", "index_agreement"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name}={getattr(self, name)}: expected a fraction above 0, up to 1"
                )


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
) -> GateResult:
    """Run all checks of the gate.

    Args:
        version: read back from disk.
        model: the trained model that the version was written from.
        cases: held out from the training of both versions, encoded by the refresh's log.
        current: the version served now. None: recall has to exceed that of random lists.

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
        histories = cases.encode_for(actual).head(USERS_COMPARED).histories
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
        _check_recall(version, cases, current, config, result)
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
    config: GateConfig,
    result: GateResult,
) -> None:
    """Compare the recall with that of the current version, or of random lists if there is none."""
    metric = f"Recall@{config.cutoff}"

    def recall(bundle: Bundle) -> Tensor:
        recommender = IndexRecommender(bundle.model, bundle.index)
        encoded = cases.encode_for(bundle.catalogue)
        return evaluate(recommender, encoded, (config.cutoff,)).values[metric]

    new = recall(version)
    value = float(new.mean())
    metrics = result.metrics
    metrics |= {"cases": len(cases), metric: value}
    if current is None:
        random = config.cutoff / len(version.catalogue)
        metrics[f"{metric} of random lists"] = random
        if not value > random:
            result.reasons.append(
                f"{metric} is {value:.4f} in {len(cases)} cases, that of {config.cutoff} random "
                f"items of {len(version.catalogue)} is {random:.4f}"
            )
        return
    old = recall(current)
    old_value = metrics[f"{metric} of the current version"] = float(old.mean())
    interval = ""
    if len(cases) > 1:
        difference = compare(new, old)
        metrics |= {"difference, low": difference.low, "difference, high": difference.high}
        interval = (
            f" (95 % interval of the difference: {difference.low:.4f} to {difference.high:.4f})"
        )
    minimum = (1 - config.tolerance) * old_value
    if not value >= minimum:
        result.reasons.append(
            f"{metric} is {value:.4f}, that of version {current.version} {old_value:.4f} in the "
            f"same {len(cases)} cases{interval}; expected at least {minimum:.4f}"
        )
