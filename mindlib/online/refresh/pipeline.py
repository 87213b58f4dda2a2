"""The daily refresh (§5, model training platform): train, write, check, promote.

1. Train a model on the log, from the current version's weights or from scratch.
2. Write a version into a staging folder: exported model, index, ranker, weights.
3. Check it with the gate. A rejected version is deleted, and the current one stays.
4. Promote it: rename the folder, then replace the pointer, each in one step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import torch

from mindlib.data.interactions import Interactions
from mindlib.data.option_types import AT_LEAST_1, SEED, Options
from mindlib.data.splits import Split
from mindlib.evaluation import evaluate
from mindlib.models.mind import MIND, MINDConfig
from mindlib.online.artifacts import ArtifactError
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.refresh.days import HeldOutCases, hold_out_newest_day
from mindlib.online.refresh.gate import GateConfig, GateResult, check_version
from mindlib.online.refresh.registry import Registry, VersionRecord, utc_now
from mindlib.online.refresh.warm import WarmState, warm_start
from mindlib.online.serving.bundle import Bundle
from mindlib.retrieval import Engine
from mindlib.retrieval.engines import check_engine
from mindlib.training import TrainingConfig, fit

BUNDLE, WEIGHTS = "bundle", "weights.safetensors"


@dataclass(frozen=True)
class RefreshConfig(Options):
    """Configuration of a refresh.

    Attributes:
        model: of MIND.
        training: from scratch; used for the first version, and for all if `warm_start` is None.
        warm_start: training from the current version's weights, usually for fewer epochs; used for
            all versions but the first.
        held_out: fraction of the newest day's users that is held out (`hold_out_newest_day`).
        gate: requirements for serving a version.
        reference: number of the version that the gate compares every new one with, besides the
            current one. None: the oldest version that was served (`Registry.reference`). Name a
            newer one from time to time, because the users change.
        index: the engine of the index, as in `Bundle.write`.
        category: the item field used by re-ranking, if any.
        seed: of the initial weights and of the held-out users.
    """

    model: MINDConfig = field(default_factory=MINDConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    warm_start: TrainingConfig | None = field(default_factory=lambda: TrainingConfig(epochs=2))
    held_out: Annotated[float, (1e-6, 0.999)] = 0.2
    gate: GateConfig = field(default_factory=GateConfig)
    reference: Annotated[int | None, AT_LEAST_1] = None
    index: Engine = "exact"
    category: str | None = None
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.index, str):
            check_engine(self.index)


class TrainedModel(NamedTuple):
    """A model, the split that it was trained on, and what the version records of its training."""

    model: MIND
    split: Split
    facts: dict[str, Any]


def train(log: Interactions, config: RefreshConfig, previous: WarmState | None) -> TrainedModel:
    """Train a version, and keep the epoch with the best validation metric.

    After a warm start this can be epoch 0, the previous weights in the new catalogue, if training
    only made them worse.

    Args:
        log: the events up to the day of the refresh.
        previous: the current version's state; None, or no `config.warm_start`: from scratch.

    Raises:
        ValueError, FloatingPointError: as `hold_out_newest_day`, `warm_start` and `fit`.
    """
    started = time.perf_counter()
    warm = config.warm_start if previous is not None else None
    training = warm or config.training
    split = hold_out_newest_day(log, share=config.held_out, seed=config.seed)
    model = MIND(log, config.model, generator=torch.Generator().manual_seed(config.seed))
    rows = warm_start(model, log, previous) if warm and previous else None
    model.eval()
    monitor, n = training.monitor, int(training.monitor.partition("@")[2])
    evaluation = evaluate(model, split.validation, (n,), exclude_history=training.exclude_history)
    initial_value = evaluation.means()[monitor]
    initial_weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    result = fit(model, split, training, device="cpu", progress=False)
    best_epoch = result.best_epoch
    if rows and initial_value > result.log[best_epoch - 1][monitor]:
        model.load_state_dict(initial_weights)
        best_epoch = 0
    facts = {
        "rows": rows,
        "epochs": len(result.log),
        "best epoch": best_epoch,
        f"{monitor} before training": initial_value,
        "steps": result.log[-1].step,
        "seconds": round(time.perf_counter() - started, 1),
    }
    return TrainedModel(model, split, facts)


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
    if config.category is not None:
        log.item_categories(config.category)  # refuses an unknown field before the training
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
        facts |= {
            "created": utc_now(),
            "day": datetime.fromtimestamp(int(log.timestamps.max()), UTC).date().isoformat(),
            "events": len(log),
            "items": log.num_items,
            "start": f"version {base:04d}" if base and trained.facts["rows"] else "scratch",
            **trained.facts,
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
