"""Training of vector models (§3.5): the function `fit`, which is the same for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mindlib.data.splits import Split
from mindlib.evaluation import evaluate
from mindlib.layers.pooling import ItemEmbedding
from mindlib.models.vector_model import VectorModel
from mindlib.training.checkpoints import Checkpoints, resume, run_identity, save_state
from mindlib.training.config import TrainingConfig
from mindlib.training.distributed import choose_device, join_process_group
from mindlib.training.epochs import Fit, TrainingState, run_epochs
from mindlib.training.optimizers import dense_parameters, make_schedulers
from mindlib.training.step import batches, make_sampler, pairs_in_epoch, training_step
from mindlib.training.threads import keep_freed_memory


def fit(
    model: VectorModel,
    split: Split,
    config: TrainingConfig | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
    checkpoints: str | Path | None = None,
) -> Fit:
    """Train on `split.train` and keep the weights of the best epoch on `split.validation`.

    With `checkpoints`, the state after each epoch is written to that folder, and a call with a
    folder that contains a checkpoint resumes from it. Repeating a call after a crash gives exactly
    the weights of an uninterrupted run. A run can also be prolonged with more `epochs`; a folder
    from a run with any other difference is refused. Processes started by torchrun train one model
    together (see `mindlib.training.distributed`), and only rank 0 writes.

    Args:
        model: trained in place; afterwards it has the weights of the best epoch.
        config: options of the training run; the defaults of `TrainingConfig` if None.
        device: the name of a device; "auto" selects a GPU if there is one.
        checkpoints: a folder, which is created if necessary; None writes no checkpoints.

    Raises:
        ValueError: the split has no training case or no validation case, the model was built for
            another catalogue, an option does not suit the split or the model, or the checkpoints
            are damaged or belong to another run.
        OSError: a checkpoint cannot be written, or another training run is using the folder.
        FloatingPointError: the loss became NaN or infinite; the model keeps its last weights.
    """
    config = config or TrainingConfig()
    pairs = pairs_in_epoch(split.train, config.pairs_per_user)
    steps = math.ceil(pairs / config.batch_size)
    check_trainable(model.items, split)
    _check_monitor(config, split)
    keep_freed_memory()
    torch_device = choose_device(device)
    workers = join_process_group(torch_device)
    model.to(torch_device)
    if workers.size > 1:
        weights = workers.run_on_rank_zero(
            lambda: {name: weight.cpu() for name, weight in model.state_dict().items()}
        )
        model.load_state_dict(weights)
    table, cutoff = model.items.weight, int(config.monitor.partition("@")[2])
    state = TrainingState.initial(model, table, config.learning_rate, config.seed)
    optimizers, generator = state.optimizers, state.generator
    dense = dense_parameters(model, table)

    def train_epoch(epoch: int) -> Iterator[Tensor]:
        # The model's own random numbers differ between processes, `generator` must not.
        local = generator
        if workers.size > 1:
            seeds = np.random.SeedSequence([config.seed, epoch, workers.rank])
            local = torch.Generator(table.device).manual_seed(int(seeds.generate_state(1)[0]))
        for batch in batches(
            split.train,
            config.batch_size,
            generator,
            workers,
            pairs_per_user=config.pairs_per_user,
            length_bucket_batches=config.length_bucket_batches,
        ):
            loss = training_step(model, batch, sampler, config, generator, local)
            workers.sum_gradients(table, dense)
            for updated in (*optimizers, *schedulers):
                updated.step()
            yield loss.detach() * len(batch.targets)

    def validate() -> dict[str, float]:
        exclude = config.exclude_history
        return evaluate(model, split.validation, (cutoff,), exclude_history=exclude).means()

    with ExitStack() as stack:
        save = None
        if checkpoints is not None:
            folder, identity = Checkpoints(checkpoints), run_identity(model, split, config, workers)
            stack.callback(folder.lock.release)
            resume(folder, identity, state, config.epochs, workers)
            save = partial(save_state, folder, identity, state)
        total, done = config.epochs * steps, len(state.log) * steps
        schedulers = make_schedulers(optimizers, config, steps=total, done=done)
        sampler = make_sampler(split, config, table.device)
        return run_epochs(
            state,
            train_epoch,
            validate,
            epochs=config.epochs,
            patience=config.patience,
            monitor=config.monitor,
            steps=steps,
            cases=pairs,
            remedy=f"lower learning_rate={config.learning_rate}",
            progress=progress,
            save=save,
            workers=workers,
        )


def check_trainable(items: ItemEmbedding, split: Split) -> None:
    """Check that a model with these item embeddings can be trained on a split."""
    name, num_items = f"{split.log.name!r} ({split.name})", split.log.num_items
    if not len(split.train):
        raise ValueError(
            f"{name} has no training case: no event has a history; choose another split"
        )
    if not len(split.validation):
        raise ValueError(
            f"{name} has no validation case, which is needed to select the best epoch; choose "
            f"another split"
        )
    if items.num_items != num_items:
        raise ValueError(
            f"the model has {items.num_items} items and the log has {num_items}; build the model "
            f"from split.log"
        )


def _check_monitor(config: TrainingConfig, split: Split) -> None:
    """Raise ValueError if the metric's N exceeds the number of items."""
    name, num_items = f"{split.log.name!r} ({split.name})", split.log.num_items
    if int(config.monitor.partition("@")[2]) > num_items:
        raise ValueError(
            f"monitor={config.monitor!r}: {name} has only {num_items} items; choose a smaller N"
        )
