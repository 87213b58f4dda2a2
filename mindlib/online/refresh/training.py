"""Training of a daily version: from the current version's weights, or from scratch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch

from mindlib.data.interactions import Interactions
from mindlib.data.option_types import AT_LEAST_1, SEED, check_options
from mindlib.data.splits import Split
from mindlib.evaluation import evaluate
from mindlib.models.mind import MIND, MINDConfig
from mindlib.online.refresh.days import hold_out_newest_day
from mindlib.online.refresh.gate import GateConfig
from mindlib.online.refresh.warm import CopiedRows, WarmState, warm_start
from mindlib.retrieval import Engine
from mindlib.retrieval.engines import check_engine
from mindlib.training import Fit, TrainingConfig, fit


@dataclass(frozen=True)
class RefreshConfig:
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
    held_out: float = 0.2
    gate: GateConfig = field(default_factory=GateConfig)
    reference: int | None = None
    index: Engine = "exact"
    category: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self, reference=AT_LEAST_1, seed=SEED)
        if isinstance(self.index, str):
            check_engine(self.index)


@dataclass(frozen=True)
class TrainedModel:
    """The result of the training of a version.

    Attributes:
        monitor: the metric on the validation cases that chose the epoch.
        initial_value: its value before the first step.
        copied_rows: of the item table; None if trained from scratch.
        seconds: duration of training and validation.
    """

    model: MIND
    split: Split
    fit: Fit
    monitor: str
    initial_value: float
    copied_rows: CopiedRows | None
    seconds: float


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
    copied = warm_start(model, log, previous) if warm and previous else None
    model.eval()
    monitor, n = training.monitor, int(training.monitor.partition("@")[2])
    evaluation = evaluate(model, split.validation, (n,), exclude_history=training.exclude_history)
    initial_value = evaluation.means()[monitor]
    initial_weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    result = fit(model, split, training, device="cpu", progress=False)
    if copied and initial_value > result.log[result.best_epoch - 1][monitor]:
        model.load_state_dict(initial_weights)
        result = replace(result, best_epoch=0)
    seconds = time.perf_counter() - started
    return TrainedModel(model, split, result, monitor, initial_value, copied, seconds)
