"""The daily refresh (§5, model training platform): train, write, judge, swap.

log of the days up to tonight
   --train-->  a model, warm from yesterday's weights or from scratch
   --write-->  a version in a folder that nobody reads: exported model, index, ranker
   --judge-->  the gate; a version that does not pass is deleted, and the old one stays
   --swap-->   renamed, then made the current one, each in one step
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mindlib.data.interactions import Interactions
from mindlib.data.splits import Split
from mindlib.evaluation import evaluate
from mindlib.models.mind import MIND, MINDConfig
from mindlib.online.artifacts import ArtifactError
from mindlib.online.refresh.days import HeldOutCases, hold_out_newest_day
from mindlib.online.refresh.gate import GateConfig, GateResult, check_version
from mindlib.online.refresh.registry import Registry, utc_now
from mindlib.online.refresh.warm import RowNames, WarmStart, warm_start
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.stages import Ranker
from mindlib.retrieval import Engine
from mindlib.training import Fit, TrainingConfig, fit

BUNDLE, WEIGHTS, ROWS = "bundle", "weights.safetensors", "rows.json"


@dataclass(frozen=True)
class WarmStartConfig:
    """How a model goes on from yesterday's weights.

    Attributes:
        training: commonly fewer epochs than from scratch.
        recent_days: learn what was taken on that many last days only; None: on all.
    """

    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=2))
    recent_days: int | None = None


@dataclass(frozen=True)
class RefreshConfig:
    """What happens every night.

    Attributes:
        model: of MIND.
        training: from scratch: the first night, and every night if `warm` is None.
        warm: the nights after the first.
        held_out: the share of the newest day's users that is held out (see `hold_out_newest_day`).
        gate: what a version has to hold.
        index: the engine of the index, as `Bundle.write`.
        category: the item field that re-ranking looks at, if any.
        seed: of the initial weights and of who is held out.
    """

    model: MINDConfig = field(default_factory=MINDConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    warm_start: WarmStartConfig | None = field(default_factory=WarmStartConfig)
    held_out: float = 0.2
    gate: GateConfig = field(default_factory=GateConfig)
    index: Engine = "exact"
    category: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class RankerFactory:
    """How a version gets its ranker: trained on the same split, and read back from its file."""

    train: Callable[[Split], Ranker]
    load: Callable[[Path], Ranker]


@dataclass(frozen=True)
class WarmState:
    """What a warm start needs of a model: its weights, and the names of its tables' rows."""

    weights: dict[str, Tensor]
    names: RowNames


@dataclass(frozen=True)
class TrainedModel:
    """A model after tonight's training.

    Attributes:
        monitor: the metric on the validation cases that chose the epoch.
        initial_value: the same before the first step.
        warm: what was carried over; None: from scratch.
        seconds: of training and validation.
    """

    model: MIND
    split: Split
    fit: Fit
    monitor: str
    initial_value: float
    warm_start: WarmStart | None
    seconds: float

    def warm_state(self) -> WarmState:
        """For tomorrow."""
        return WarmState(self.model.state_dict(), RowNames.from_model(self.model, self.split.log))


@dataclass(frozen=True)
class RefreshResult:
    """A version that is served now.

    Attributes:
        number: of the version.
        verdict: the gate's figures.
        facts: as in the history.
    """

    number: int
    gate: GateResult
    facts: dict[str, Any]


class GateRejected(RuntimeError):
    """The gate refused tonight's version, and yesterday's stays.

    Attributes:
        number: that the version had.
        verdict: the reasons and the figures.
    """

    def __init__(self, number: int, verdict: GateResult, stays: int | None) -> None:
        self.number, self.gate = number, verdict
        what = "nothing is served" if stays is None else f"version {stays:04d} stays"
        super().__init__(
            f"version {number:04d} is refused, and {what}: {'; '.join(verdict.reasons)}"
        )


def train(log: Interactions, config: RefreshConfig, before: WarmState | None) -> TrainedModel:
    """Tonight's model: of the epoch that is best on the validation cases.

    Of a warm start this may be epoch 0, yesterday's weights in tonight's catalogue: where a short
    training only did harm, it is as if there had been none.

    Args:
        log: of the days up to tonight.
        before: yesterday's weights; None, or no `config.warm_start`: from scratch.

    Raises:
        ValueError: the log is too small, or the weights do not fit (see `hold_out_newest_day`,
            `fit`, `warm_start`).
        FloatingPointError: the loss became NaN or infinite.
    """
    started = time.perf_counter()
    way = config.warm_start if before is not None else None
    split = hold_out_newest_day(
        log,
        share=config.held_out,
        recent_days=way.recent_days if way else None,
        seed=config.seed,
    )
    model = MIND(log, config.model, generator=torch.Generator().manual_seed(config.seed))
    carried = None
    if way and before:
        carried = warm_start(model, log, before.weights, before.names)
    training = way.training if way else config.training
    model.eval()
    n = int(training.monitor.partition("@")[2])
    initial_value = evaluate(
        model, split.validation, (n,), exclude_history=training.exclude_history
    )
    value = initial_value.means()[training.monitor]
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    done = fit(model, split, training, device="cpu", progress=False)
    if carried and value > done.log[done.best_epoch - 1][training.monitor]:
        model.load_state_dict(start)
        done = replace(done, best_epoch=0)
    return TrainedModel(
        model,
        split,
        done,
        training.monitor,
        value,
        carried,
        time.perf_counter() - started,
    )


def refresh(
    registry: Registry,
    log: Interactions,
    config: RefreshConfig | None = None,
    *,
    ranking: RankerFactory | None = None,
) -> RefreshResult:
    """Make a version of the log's days, and serve it if the gate lets it pass.

    Whatever happens on the way, the current version stays what it was until the one step in which
    it is replaced; what a killed refresh leaves behind is swept away by the next.

    Args:
        log: of the days up to tonight, and not an event more.
        ranking: None: versions without a ranker.

    Raises:
        RefreshInProgress: another refresh runs.
        GateRejected: by the gate; the reasons name figures.
        ConcurrentUpdate: a rollback came in between.
        ValueError: as `train`; or yesterday's version is damaged.
        OSError: the version cannot be written.
    """
    config = config or RefreshConfig()
    with registry.refresh_lock(), registry.staging_dir() as (number, folder):
        current = registry.current()
        yesterday = before = None
        if current is not None:
            yesterday = load_version(registry, current, ranking)
            before = load_warm_state(registry.path(current)) if config.warm_start else None
        _check(log, yesterday, config)
        trained = train(log, config, before)
        facts = _facts(trained, log, current)
        verdict = _write_and_judge(trained, f"{number:04d}", folder, yesterday, config, ranking)
        facts |= {"metrics": verdict.metrics, "reasons": list(verdict.reasons)}
        if not verdict.passed:
            registry.reject(number, facts)
            raise GateRejected(number, verdict, current)
        registry.promote(number, folder, facts, current)
    return RefreshResult(number, verdict, facts)


def load_version(registry: Registry, number: int, ranking: RankerFactory | None = None) -> Bundle:
    """A version, to be served.

    Raises:
        ArtifactError: it is damaged or incomplete; the message says what helps.
    """
    return Bundle.load(
        registry.path(number) / BUNDLE, read_ranker=ranking.load if ranking else None
    )


def load_warm_state(folder: Path) -> WarmState:
    """The weights of a version, for a warm start.

    Raises:
        ValueError: they are missing or damaged.
    """
    try:
        names = RowNames.from_json((folder / ROWS).read_text(encoding="utf-8"))
        return WarmState(load_file(folder / WEIGHTS), names)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"the weights in {folder} cannot be read ({error}); train from scratch: pass "
            f"RefreshConfig(warm_start=None)"
        ) from error


def _write_and_judge(
    trained: TrainedModel,
    version: str,
    folder: Path,
    yesterday: Bundle | None,
    config: RefreshConfig,
    ranking: RankerFactory | None,
) -> GateResult:
    model, split = trained.model, trained.split
    kept = trained.warm_state()
    save_file({name: w.contiguous() for name, w in kept.weights.items()}, folder / WEIGHTS)
    (folder / ROWS).write_text(kept.names.to_json(), encoding="utf-8")
    Bundle.write(
        folder / BUNDLE,
        version=version,
        model=model,
        log=split.log,
        counts=split.log.item_counts(),  # nobody judges popularity: nothing is held out of it
        ranker=ranking.train(split) if ranking else None,
        category=config.category,
        index=config.index,
    )
    try:
        written = Bundle.load(folder / BUNDLE, read_ranker=ranking.load if ranking else None)
    except ArtifactError as error:
        return GateResult((str(error),))
    return check_version(
        written, model, HeldOutCases(split.test, split.log), yesterday, config.gate
    )


def _check(log: Interactions, yesterday: Bundle | None, config: RefreshConfig) -> None:
    """Refuse what could only fail after the training."""
    catalogues = [log.num_items, *([len(yesterday.catalogue)] if yesterday else [])]
    if config.gate.cutoff > min(catalogues):
        raise ValueError(
            f"cutoff={config.gate.cutoff}: the catalogues of tonight and yesterday have "
            f"{' and '.join(map(str, catalogues))} items; choose a smaller N for the gate"
        )


def _facts(trained: TrainedModel, log: Interactions, base: int | None) -> dict[str, Any]:
    """What the history says of a version, before the gate's figures."""
    last = datetime.fromtimestamp(int(log.timestamps.max()), UTC)
    warm = trained.warm_start
    return {
        "made": utc_now(),
        "day": last.date().isoformat(),
        "events": len(log),
        "items": log.num_items,
        "start": "scratch" if warm is None or base is None else f"version {base:04d}",
        "rows": {"carried": warm.carried, "fresh": warm.fresh} if warm else None,
        "epochs": len(trained.fit.log),
        "best epoch": trained.fit.best_epoch,
        "steps": trained.fit.log[-1].step,
        "seconds": round(trained.seconds, 1),
    }
