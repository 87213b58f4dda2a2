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
from mindlib.evaluation import compare, evaluate
from mindlib.online.refresh.days import HeldOutCases
from mindlib.online.serving.bundle import Bundle
from mindlib.retrieval import IndexRecommender, InterestModel, Recommender

# Number of users whose lists are compared in the agreement checks.
USERS_COMPARED = 256


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
        if self.cutoff < 1:
            raise ValueError(f"cutoff={self.cutoff}: expected N >= 1")
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
        reasons: why the version is rejected; empty if it passes.
        metrics: all measured values; later checks are skipped if an integrity check fails.
    """

    reasons: tuple[str, ...] = ()
    metrics: dict[str, float | int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the version may be served."""
        return not self.reasons


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
    metrics: dict[str, float | int] = {}
    reasons = _check_vectors(version, metrics) + _check_catalogue(version, cases)
    if not reasons:
        reasons += _check_agreement(version, model, cases, config, metrics)
        reasons += _check_recall(version, cases, current, config, metrics)
    return GateResult(tuple(reasons), metrics)


def _check_vectors(version: Bundle, metrics: dict[str, float | int]) -> list[str]:
    """Require finite, nonzero item vectors, and interests of one-item histories."""
    items = version.model.item_vectors()[1:]
    users = min(len(items), USERS_COMPARED)
    profiles = [[0] * len(version.catalogue.fields)] * users if version.catalogue.fields else None
    histories = Histories.from_lists([[number + 1] for number in range(users)], profiles)
    interests, active = version.model.interests(histories)
    reasons = []
    for name, vectors in (("item", items), ("interest", interests[active])):
        for fault, bad in (
            ("not finite", (~vectors.isfinite()).any(1)),
            ("zero", (vectors == 0).all(1)),
        ):
            number = metrics[f"{name} vectors {fault}"] = int(bad.sum())
            if number:
                reasons.append(f"{number} of {len(vectors)} {name} vectors are {fault}")
    return reasons


def _check_catalogue(version: Bundle, cases: HeldOutCases) -> list[str]:
    """Require the log's catalogue: otherwise item numbers would mean other items."""
    expected, actual = Catalogue.from_log(cases.log), version.catalogue
    if actual.fingerprint == expected.fingerprint:
        return []
    return [
        f"its catalogue ({len(actual)} items, {actual.fingerprint[:12]}…) is not the log's "
        f"({len(expected)} items, {expected.fingerprint[:12]}…), so its item numbers mean other "
        f"items"
    ]


def _check_agreement(
    version: Bundle,
    model: InterestModel,
    cases: HeldOutCases,
    config: GateConfig,
    metrics: dict[str, float | int],
) -> list[str]:
    """Compare the exported model with the trained one, and the index with exact search."""
    histories = cases.encode_for(version.catalogue).head(USERS_COMPARED).histories
    exported, n = version.model, config.cutoff
    indexed = IndexRecommender(exported, version.index)
    metrics["export agreement"] = _agreement(exported, model, histories, n)
    metrics["index agreement"] = _agreement(indexed, exported, histories, n)
    return [
        f"its lists share {metrics[name]:.1%} of their {n} items with those {other}; expected at "
        f"least {minimum:.1%}"
        for name, minimum, other in (
            ("export agreement", config.export_agreement, "of the trained model"),
            ("index agreement", config.index_agreement, "by exact search"),
        )
        if not metrics[name] >= minimum
    ]


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
    metrics: dict[str, float | int],
) -> list[str]:
    """Compare the recall with that of the current version, or of random lists if there is none."""
    metric = f"Recall@{config.cutoff}"

    def recall(bundle: Bundle) -> Tensor:
        recommender = IndexRecommender(bundle.model, bundle.index)
        encoded = cases.encode_for(bundle.catalogue)
        return evaluate(recommender, encoded, (config.cutoff,)).values[metric]

    new = recall(version)
    value = float(new.mean())
    metrics |= {"cases": len(cases), metric: value}
    if current is None:
        random = config.cutoff / len(version.catalogue)
        metrics[f"{metric} of random lists"] = random
        if value > random:
            return []
        return [
            f"{metric} is {value:.4f} in {len(cases)} cases, that of {config.cutoff} random items "
            f"of {len(version.catalogue)} is {random:.4f}"
        ]
    old = recall(current)
    old_value = float(old.mean())
    metrics[f"{metric} of the current version"] = old_value
    interval = ""
    if len(cases) > 1:
        difference = compare(new, old)
        metrics |= {"difference, low": difference.low, "difference, high": difference.high}
        interval = (
            f" (95 % interval of the difference: {difference.low:.4f} to {difference.high:.4f})"
        )
    minimum = (1 - config.tolerance) * old_value
    if value >= minimum:
        return []
    return [
        f"{metric} is {value:.4f}, that of version {current.version} {old_value:.4f} in the same "
        f"{len(cases)} cases{interval}; expected at least {minimum:.4f}"
    ]
