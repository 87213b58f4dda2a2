"""The loop over epochs of a training run: training, validation, early stopping and saving."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mindlib.training.distributed import SINGLE_PROCESS, Workers
from mindlib.training.optimizers import make_optimizers
from mindlib.training.threads import AdaptiveThreads

# The number of steps between two reads of the losses, each of which waits for the device.
STEPS_BETWEEN_CHECKS = 256


@dataclass(frozen=True)
class EpochRecord:
    """The result of one epoch; `record["Recall@50"]` is a metric.

    Attributes:
        epoch: the number of the epoch, from 1.
        step: the number of steps since the training run began.
        loss: the mean loss of the epoch's training cases.
        metrics: the metrics of the validation cases.
        learning_rate: the learning rate after the epoch's last step.
        seconds: the time of training, without validation.
        samples_per_second: training cases per second of that time. (Only these two fields differ
            when a training run is repeated.)
    """

    epoch: int
    step: int
    loss: float
    metrics: Mapping[str, float]
    learning_rate: float
    seconds: float
    samples_per_second: float

    def __getitem__(self, metric: str) -> float:
        return self.metrics[metric]


@dataclass(frozen=True)
class Fit:
    """The result of a training run.

    Attributes:
        log: a record for each epoch, including those before an interruption.
        best_epoch: the epoch whose weights the model now has.
        device: the device of the run.
    """

    log: list[EpochRecord]
    best_epoch: int
    device: str


@dataclass
class TrainingState:
    """The mutable state of a training run.

    Attributes:
        model, optimizers, generator: the objects whose state determines the next step.
        log: the records of the epochs so far.
        best_epoch: the best epoch so far; 0 before the first.
        best_weights: the weights after the best epoch.
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
        """Append the record of an epoch, and copy the weights if its monitored metric is best."""
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
    """Train for `epochs` epochs, or until validation has not improved for `patience` epochs.

    Args:
        state: the state to continue from; afterwards its model has the weights of the best epoch
            and is in evaluation mode.
        train_epoch: a function that runs the steps of the epoch with this number, and yields the
            detached sum of the losses after each step.
        validate: returns the validation metrics; called on rank 0 only.
        steps, cases: the number of steps and of training cases in an epoch.
        remedy: advice for the error message if the loss is not finite.
        save: called after each epoch, on rank 0 only.

    Raises:
        FloatingPointError: the loss became NaN or infinite; the model keeps its last weights.
    """
    model, log, threads = state.model, state.log, AdaptiveThreads()
    with tqdm(
        total=epochs * steps,
        initial=len(log) * steps,
        unit="step",
        disable=not (progress and workers.rank == 0),
        leave=False,
    ) as bar:
        while len(log) < epochs and len(log) - state.best_epoch < patience:
            epoch, started = len(log) + 1, time.perf_counter()
            model.train()
            step_losses = threads.run(train_epoch(epoch))
            loss = _sum_losses(step_losses, epoch, steps, workers, bar, remedy) / cases
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
    """Run the steps of an epoch and return the sum of their losses over all processes."""
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
