"""Training (§3.5): one `fit` for every vector model."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import math
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from mindlib.data.splits import Cases, Split
from mindlib.evaluation import evaluate
from mindlib.models.vector import VectorModel
from mindlib.training.checkpoints import (
    Checkpoint,
    Checkpoints,
    check_compatible,
    identity,
    load_weights,
    pack,
    pack_weights,
    unpack,
    weights_in,
)
from mindlib.training.config import TrainingConfig
from mindlib.training.distributed import Workers, join_process_group, local_device
from mindlib.training.negatives import NegativeSampler
from mindlib.training.optimizers import RowAdam, make_schedulers
from mindlib.training.step import batches, make_sampler, training_step

# Steps between two looks at the loss: each look waits for the device.
STEPS_UNSEEN = 256


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to. `record["Recall@50"]` is a metric, `record["loss"]` a field.

    Attributes:
        epoch: from 1.
        step: steps made since training began.
        loss: the mean over the epoch's pairs.
        metrics: on the validation cases.
        learning_rate: after the epoch's last step.
        seconds: that training took, without validation.
        samples_per_second: in that time. (These two alone differ when a training is repeated.)
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
    """What `fit` did.

    Attributes:
        log: a record for each epoch, those before an interruption included.
        best_epoch: the epoch whose weights the model now has.
        device: where it ran.
    """

    log: list[EpochRecord]
    best_epoch: int
    device: str


def fit(
    model: VectorModel,
    split: Split,
    config: TrainingConfig | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
    checkpoints: str | Path | None = None,
) -> Fit:
    """Train on `split.train`, keep the weights of the epoch that is best on `split.validation`.

    With `checkpoints` the state after each epoch is written to that folder, and a call that finds
    a checkpoint there goes on from it: the same call again, after a crash, ends with the very
    weights that it would have had without one. More `epochs` than before are more training; any
    other change is refused. Started by torchrun, the processes train one model together (see
    `mindlib.training.distributed`), and only the first of them writes.

    Args:
        model: trained in place; afterwards it has the weights of the best epoch.
        device: "auto" takes a GPU if there is one.
        progress: show a bar.
        checkpoints: a folder, which is made if it is not there; None writes nothing.

    Raises:
        ValueError: the split has no training pair or no validation case, the model another
            catalogue, or the folder checkpoints that do not fit or are damaged.
        OSError: a checkpoint cannot be written.
        FloatingPointError: the loss became NaN or infinite; the model keeps its last weights.
    """
    config = config or TrainingConfig()
    steps = math.ceil(len(split.train) / config.batch_size)
    _check(model, split, config, steps)
    keep_freed_memory()
    torch_device = local_device(choose_device(device))
    workers = join_process_group(torch_device)
    folder = Checkpoints(checkpoints) if checkpoints is not None else None
    if folder:
        workers.run_on_rank_zero(folder.prepare)
    model.to(torch_device)
    if workers.size > 1:
        load_weights(workers.broadcast(lambda: (pack_weights(model), None), torch_device)[0], model)
    state = _State(
        model,
        make_optimizers(model, config.learning_rate),
        torch.Generator(torch_device).manual_seed(config.seed),
        log=[],
        best_epoch=0,
        best_weights=copy.deepcopy(model.state_dict()),
    )
    run = _run(model, split, config, torch_device, workers) if folder else {}
    if folder:
        _resume(state, folder, run, config, workers, torch_device)
    schedulers = make_schedulers(
        state.optimizers,
        steps=config.epochs * steps,
        done=len(state.log) * steps,
        warmup_steps=config.warmup_steps,
        schedule=config.schedule,
    )
    cases = split.train.to(torch_device)
    sampler = make_sampler(split, config, torch_device)

    log = state.log
    with tqdm(
        total=config.epochs * steps,
        initial=len(log) * steps,
        unit="step",
        disable=not (progress and workers.is_rank_zero),
        leave=False,
    ) as bar:
        while len(log) < config.epochs and len(log) - state.best_epoch < config.patience:
            started = time.perf_counter()
            loss = _train_epoch(state, cases, sampler, config, schedulers, workers, bar)
            seconds = time.perf_counter() - started
            metrics = workers.run_on_rank_zero(_validate, model, split, config)
            record = EpochRecord(
                epoch=len(log) + 1,
                step=(len(log) + 1) * steps,
                loss=loss,
                metrics=metrics,
                learning_rate=state.optimizers[0].param_groups[0]["lr"],
                seconds=seconds,
                samples_per_second=len(cases) / seconds,
            )
            bar.set_postfix_str(f"loss {loss:.3f}, {config.monitor} {record[config.monitor]:.4f}")
            best = log[state.best_epoch - 1][config.monitor] if state.best_epoch else -math.inf
            log.append(record)
            if record[config.monitor] > best:
                state.best_epoch = record.epoch
                state.best_weights = copy.deepcopy(model.state_dict())
            if folder:
                workers.run_on_rank_zero(_save, state, folder, run)
    model.load_state_dict(state.best_weights)
    model.eval()
    return Fit(log, state.best_epoch, str(torch_device))


@dataclass
class _State:
    """What training changes."""

    model: VectorModel
    optimizers: list[torch.optim.Optimizer]
    generator: torch.Generator
    log: list[EpochRecord]
    best_epoch: int
    best_weights: dict[str, Tensor]


def _check(model: VectorModel, split: Split, config: TrainingConfig, steps: int) -> None:
    """Refuse what could only fail later."""
    what = f"{split.log.name!r} ({split.name})"
    num_items = split.log.num_items
    if not steps:
        raise ValueError(f"{what} has no training case: no event has a past")
    if not len(split.validation):
        raise ValueError(f"{what} has no validation case, by which to choose the epoch to keep")
    if model.items.num_items != num_items:
        raise ValueError(
            f"the model knows {model.items.num_items} items and the log has "
            f"{num_items}; build the model from split.log"
        )
    if int(config.monitor.partition("@")[2]) > num_items:
        raise ValueError(
            f"monitor={config.monitor!r}: {what} has only {num_items} items; choose a smaller N"
        )
    if config.warmup_steps >= config.epochs * steps:
        raise ValueError(
            f"warmup_steps={config.warmup_steps}: {config.epochs} epochs of {what} are "
            f"{config.epochs * steps} steps, and the learning rate must have risen before the last"
        )


def _train_epoch(
    state: _State,
    cases: Cases,
    sampler: NegativeSampler,
    config: TrainingConfig,
    schedulers: list[LambdaLR],
    workers: Workers,
    bar: tqdm,
) -> float:
    """One pass over the training cases; the mean loss of a pair."""
    model, generator = state.model, state.generator
    table, dense = parameters(model)
    epoch, steps = len(state.log) + 1, math.ceil(len(cases) / config.batch_size)
    own = generator
    if workers.size > 1:  # what one process draws alone must not put it out of step with the rest
        own = torch.Generator(generator.device).manual_seed(
            int(np.random.SeedSequence([config.seed, epoch, workers.rank]).generate_state(1)[0])
        )
    losses, seen = torch.zeros(steps, device=generator.device), 0
    model.train()
    pool = config.length_bucket_batches
    dealt = batches(cases, config.batch_size, generator, workers, length_bucket_batches=pool)
    for number, batch in enumerate(dealt, start=1):
        loss = training_step(model, batch, sampler, config, generator, own)
        workers.sum_gradients(table, dense)
        for optimizer in state.optimizers:
            optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        losses[number - 1] = loss.detach() * len(batch.targets)
        bar.update()
        if number - seen == STEPS_UNSEEN or number == steps:
            unseen = workers.sum_(losses[seen:number])
            if not bool(unseen.isfinite().all()):
                first = int(unseen.isfinite().logical_not().nonzero()[0])
                raise FloatingPointError(
                    f"the loss of epoch {epoch} is {float(unseen[first])} at step "
                    f"{seen + first + 1} of {steps}; lower learning_rate={config.learning_rate}, "
                    f"or use a power that is safe for negative scores"
                )
            seen = number
    return float(losses.double().sum()) / len(cases)


def _validate(model: VectorModel, split: Split, config: TrainingConfig) -> dict[str, float]:
    cutoff = int(config.monitor.partition("@")[2])
    return evaluate(
        model, split.validation, (cutoff,), exclude_history=config.exclude_history
    ).means()


def _run(
    model: VectorModel, split: Split, config: TrainingConfig, device: torch.device, workers: Workers
) -> dict[str, Any]:
    """What a checkpoint must have been trained on to be gone on from."""
    run = identity(model, split, config, device=device.type, processes=workers.size)
    epochs = run.pop("training.epochs")
    if config.schedule != "constant":  # then the learning rate of every step depends on it
        run["training.epochs"] = epochs
    return run


def _resume(
    state: _State,
    folder: Checkpoints,
    run: dict[str, Any],
    config: TrainingConfig,
    workers: Workers,
    device: torch.device,
) -> None:
    """Go on from the newest checkpoint, if there is one."""
    epoch = max(workers.run_on_rank_zero(folder.epochs), default=0)
    if not epoch:
        return

    def newest() -> Checkpoint:
        checkpoint = folder.read(epoch)
        check_compatible(checkpoint.facts["run"], run, folder.path(epoch))
        if epoch > config.epochs:
            raise ValueError(
                f"epochs={config.epochs}: {folder.path(epoch)} has been trained for more already; "
                f"pass at least {epoch}, or checkpoints= another folder"
            )
        return checkpoint

    tensors, facts = workers.broadcast(newest, device)
    unpack(tensors, state.model, state.optimizers, state.generator)
    state.log += [EpochRecord(**record) for record in facts["log"]]
    state.best_epoch = facts["best_epoch"]
    if state.best_epoch not in (0, epoch):
        tensors, _ = workers.broadcast(lambda: folder.read(state.best_epoch), device)
    state.best_weights = weights_in(tensors)


def _save(state: _State, folder: Checkpoints, run: dict[str, Any]) -> None:
    epoch = len(state.log)
    tensors = pack(state.model, state.optimizers, state.generator)
    log = [dataclasses.asdict(record) for record in state.log]
    facts = {"run": run, "best_epoch": state.best_epoch, "log": log}
    folder.write(epoch, Checkpoint(tensors, facts))
    folder.keep({epoch, state.best_epoch})


def parameters(model: VectorModel) -> tuple[nn.Parameter, list[nn.Parameter]]:
    """The item table, whose gradients are sparse, and the rest."""
    table = model.items.weight
    return table, [p for p in model.parameters() if p is not table and p.numel()]


def make_optimizers(model: VectorModel, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Adam for everything: by rows for the item table, dense for the rest."""
    table, dense = parameters(model)
    return [
        RowAdam(table, learning_rate),
        torch.optim.Adam(dense, lr=learning_rate, fused=True),
    ]


def choose_device(device: str) -> torch.device:
    """The device that is meant.

    Raises:
        ValueError: it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch_device = torch.device(device)
        torch.empty(0, device=torch_device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} cannot be used here ({str(error).splitlines()[0]}); "
            f'expected "auto", "cpu" or, with a GPU, "cuda"'
        ) from error
    return torch_device


def keep_freed_memory() -> None:
    """Tell glibc to keep large freed blocks for the next step instead of giving them back.

    Its default unmaps every block above 128 kB when it is freed, and the next step pays for each
    page again. A setting of the process, harmless elsewhere, and without effect where there is no
    glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_threshold, limit = -1, -3, 1 << 30
    libc = ctypes.CDLL(None)
    libc.mallopt(trim_threshold, limit)
    libc.mallopt(mmap_threshold, limit)
