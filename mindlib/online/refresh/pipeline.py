"""The daily refresh (§5, model training platform): train, write, check, promote.

1. Train a model on the log, from the current version's weights or from scratch.
2. Write a version into a staging folder: exported model, index, ranker, weights.
3. Check it with the gate. A rejected version is deleted, and the current one stays.
4. Promote it: rename the folder, then replace the pointer, each in one step.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from mindlib.data.interactions import Interactions
from mindlib.data.splits import Split
from mindlib.online.artifacts import ArtifactError
from mindlib.online.ranking import DINRanker
from mindlib.online.refresh.days import HeldOutCases
from mindlib.online.refresh.gate import GateResult, check_version
from mindlib.online.refresh.registry import Registry, VersionRecord, utc_now
from mindlib.online.refresh.training import RefreshConfig, train
from mindlib.online.refresh.warm import WarmState
from mindlib.online.serving.bundle import Bundle, item_categories

BUNDLE, WEIGHTS = "bundle", "weights.safetensors"


class GateRejected(RuntimeError):
    """The gate rejected a new version; the current one is still served.

    Attributes:
        number: of the rejected version.
        gate: the reasons and the metrics.
    """

    def __init__(self, number: int, gate: GateResult, current: int | None) -> None:
        self.number, self.gate = number, gate
        served = "no version" if current is None else f"version {current:04d}"
        super().__init__(
            f"version {number:04d} is rejected, {served} is served: {'; '.join(gate.reasons)}"
        )


def refresh(
    registry: Registry,
    log: Interactions,
    config: RefreshConfig | None = None,
    *,
    train_ranker: Callable[[Split], DINRanker] | None = None,
) -> VersionRecord:
    """Train a new version, serve it if it passes the gate, and return its record.

    Until the pointer is replaced in the last step, the current version is unchanged, whatever
    happens. The next refresh deletes the leftovers of one that was killed.

    Args:
        log: the events up to the day of the refresh, and none after it.
        train_ranker: trains the version's ranker on the same split; None: no ranker.

    Raises:
        RefreshInProgress: another refresh is running.
        GateRejected: the version did not pass the gate; the reasons name the metrics.
        ConcurrentUpdate: a rollback happened meanwhile.
        ValueError: as `train`, the current version is damaged, the cutoff is too large, or the
            items have no field `category`.
        OSError: the version cannot be written, or the current one has no weights.
    """
    config = config or RefreshConfig()
    item_categories(log, config.category)  # refuses an unknown field before the training
    with registry.refresh_lock(), registry.new_version() as (number, folder, facts):
        base = registry.current()
        current = previous = reference = None
        if base is not None:
            current = load_version(registry, base)
            oldest = registry.reference() if config.reference is None else config.reference
            if oldest not in (None, base):
                reference = load_version(registry, oldest)
            if config.warm_start:
                previous = WarmState.load(registry.path(base) / WEIGHTS)
        versions = [version for version in (current, reference) if version]
        sizes = [log.num_items, *(len(version.catalogue) for version in versions)]
        if config.gate.cutoff > min(sizes):  # the gate would fail after the training
            raise ValueError(
                f"cutoff={config.gate.cutoff}: the catalogues of the log and of the versions that "
                f"the gate compares have {sizes} items; choose a smaller N for the gate"
            )
        trained = train(log, config, previous)
        ranker = train_ranker(trained.split) if train_ranker else None
        WarmState.from_model(trained.model, trained.split.log).save(folder / WEIGHTS)
        Bundle.write(
            folder / BUNDLE,
            version=f"{number:04d}",
            model=trained.model,
            log=log,
            counts=log.item_counts(),  # popularity is not evaluated, so that it may use all events
            ranker=ranker,
            category=config.category,
            index=config.index,
        )
        try:
            version = Bundle.load(folder / BUNDLE)
        except ArtifactError as error:
            result = GateResult([str(error)])
        else:
            cases = HeldOutCases(trained.split.test, trained.split.log)
            result = check_version(version, trained.model, cases, current, config.gate, reference)
        rows = trained.copied_rows
        facts |= {
            "created": utc_now(),
            "day": datetime.fromtimestamp(int(log.timestamps.max()), UTC).date().isoformat(),
            "events": len(log),
            "items": log.num_items,
            "start": "scratch" if rows is None or base is None else f"version {base:04d}",
            "rows": {"copied": rows.copied, "new": rows.new} if rows else None,
            "epochs": len(trained.fit.log),
            "best epoch": trained.fit.best_epoch,
            f"{trained.monitor} before training": trained.initial_value,
            "steps": trained.fit.log[-1].step,
            "seconds": round(trained.seconds, 1),
            "metrics": result.metrics,
            "reasons": result.reasons,
        }
        if result.reasons:
            registry.reject(number, facts)
            raise GateRejected(number, result, base)
    return VersionRecord(number, "current", facts)


def load_version(registry: Registry, number: int) -> Bundle:
    """Load a version for serving.

    Raises:
        ArtifactError: it is damaged or incomplete; the message names the remedy.
    """
    return Bundle.load(registry.path(number) / BUNDLE)
