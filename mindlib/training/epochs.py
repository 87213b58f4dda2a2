"""The loop over epochs, shared by every model that is trained by steps."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mindlib.training.distributed import SINGLE_PROCESS, Workers
from mindlib.training.optimizers import make_optimizers

# The losses are read once in so many steps, because reading them waits for the device.
STEPS_BETWEEN_CHECKS = 256


@dataclass(frozen=True)
class EpochRecord:
    """The result of one epoch. `record["Recall@50"]` is a metric, `record["loss"]` a field.

    Attributes:
        epoch: from 1.
        step: steps since the training run began.
        loss: the mean over the epoch's training cases.
        metrics: on the validation cases.
        learning_rate: after the epoch's last step.
        seconds: spent in training, without validation.
        samples_per_second: training cases in that time. (Only these two fields differ when a
            training run is repeated.)
    """

    epoch: int
    step: int
    loss: float
    metrics: Mapping[str, float]
    learning_rate: float
    seconds: float
    samples_per_second: float

    def __getitem__(self, name: str) -> Any:
        fields = vars(self)
        if name == "metrics" or (name not in fields and name not in self.metrics):
            known = ", ".join([*(field for field in fields if field != "metrics"), *self.metrics])
            raise KeyError(f"no {name!r} in the record of an epoch; it has {known}")
        return fields[name] if name in fields else self.metrics[name]


@dataclass(frozen=True)
class Fit:
    """The result of a training run.

    Attributes:
        log: a record for each epoch, those before an interruption included.
        best_epoch: the epoch whose weights the model now has.
        device: where it ran.
    """

    log: list[EpochRecord]
    best_epoch: int
    device: str


@dataclass
class TrainingState:
    """All that a training run changes.

    Attributes:
        model, optimizers, generator: what the next step depends on.
        log, best_epoch, best_weights: the records so far, the best epoch (0 before the first) and
            its weights.
    """

    model: nn.Module
    optimizers: list[torch.optim.Optimizer]
    generator: torch.Generator
    log: list[EpochRecord]
    best_epoch: int
    best_weights: dict[str, Tensor]

    @classmethod
    def initial(
        cls, model: nn.Module, table: nn.Parameter, learning_rate: float, seed: int
    ) -> TrainingState:
        """Return the state before the first epoch; `table` is the model's item table."""
        optimizers = make_optimizers(model, table, learning_rate)
        generator = torch.Generator(table.device).manual_seed(seed)
        return cls(model, optimizers, generator, [], 0, copy.deepcopy(model.state_dict()))

    def add(self, record: EpochRecord, monitor: str) -> None:
        """Append a record, and copy the weights if it is the best in the monitored metric."""
        best = self.log[self.best_epoch - 1][monitor] if self.best_epoch else -math.inf
        self.log.append(record)
        if record[monitor] > best:
            self.best_epoch = record.epoch
            self.best_weights = copy.deepcopy(self.model.state_dict())


def run_epochs(
    state: TrainingState,
    train_epoch: Callable[[int], Iterator[Tensor]],
    validate: Callable[[], Mapping[str, float]],
    *,
    epochs: int,
    patience: int,
    monitor: str,
    steps: int,
    cases: int,
    remedy: str,
    progress: bool,
    save: Callable[[], None] | None = None,
    workers: Workers = SINGLE_PROCESS,
) -> Fit:
    """Train until the last epoch, or until `patience` epochs have brought no better validation.

    Args:
        state: afterwards its model has the best epoch's weights, in evaluation mode.
        train_epoch: takes the number of the epoch, makes its steps, and yields after each the sum
            of its cases' losses, without gradient.
        validate: returns the validation metrics; called on rank 0.
        monitor: the metric that selects the best epoch.
        steps, cases: of an epoch.
        remedy: what to change if the loss is not finite.
        save: called after each epoch, on rank 0.
        workers: the processes that train together.

    Raises:
        FloatingPointError: the loss became NaN or infinite; the model keeps its last weights.
    """
    model, log = state.model, state.log
    with tqdm(
        total=epochs * steps,
        initial=len(log) * steps,
        unit="step",
        disable=not (progress and workers.is_rank_zero),
        leave=False,
    ) as bar:
        while len(log) < epochs and len(log) - state.best_epoch < patience:
            epoch, started = len(log) + 1, time.perf_counter()
            model.train()
            loss = _sum_losses(train_epoch(epoch), epoch, steps, workers, bar, remedy) / cases
            seconds = time.perf_counter() - started
            model.eval()
            record = EpochRecord(
                epoch=epoch,
                step=epoch * steps,
                loss=loss,
                metrics=workers.run_on_rank_zero(validate),
                learning_rate=state.optimizers[0].param_groups[0]["lr"],
                seconds=seconds,
                samples_per_second=cases / seconds,
            )
            state.add(record, monitor)
            bar.set_postfix_str(f"loss {loss:.3f}, {monitor} {record[monitor]:.4f}")
            if save:
                workers.run_on_rank_zero(save)
    model.load_state_dict(state.best_weights)
    model.eval()
    return Fit(log, state.best_epoch, str(next(model.parameters()).device))


def _sum_losses(
    step_losses: Iterator[Tensor], epoch: int, steps: int, workers: Workers, bar: tqdm, remedy: str
) -> float:
    """Make the steps of an epoch; return the sum of their losses over all processes."""
    checked: list[Tensor] = []
    unchecked: list[Tensor] = []
    for step, loss in enumerate(step_losses, start=1):
        unchecked.append(loss)
        bar.update()
        if len(unchecked) == STEPS_BETWEEN_CHECKS or step == steps:
            losses = workers.sum_(torch.stack(unchecked))
            if not bool(losses.isfinite().all()):
                first = int(losses.isfinite().logical_not().nonzero()[0])
                raise FloatingPointError(
                    f"the loss of epoch {epoch} is {float(losses[first])} at step "
                    f"{step - len(unchecked) + first + 1} of {steps}; {remedy}"
                )
            checked.append(losses)
            unchecked = []
    return float(torch.cat(checked).double().sum())
