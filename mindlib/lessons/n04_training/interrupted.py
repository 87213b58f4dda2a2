"""A training that is killed in the middle of an epoch and goes on (§3.5).

    python -m mindlib.lessons.n04_training.interrupted FOLDER STEP THREADS

is the training that `killed` starts. It ends by SIGKILL, which no handler can answer, at a step
that is counted outside `fit`: training is not told.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.data.splits import Split, leave_last_out
from mindlib.data.storage import PARTIAL
from mindlib.layers.routing import RoutingConfig
from mindlib.models.mind import MIND, MINDConfig
from mindlib.training import Fit, TrainingConfig, fit
from mindlib.training.checkpoints import Checkpoints

EPOCHS = 8
TRAINING = TrainingConfig.paper(
    epochs=EPOCHS,
    batch_size=256,
    negatives=64,
    learning_rate=2e-2,
    warmup_steps=20,
    schedule="cosine",
    monitor="HitRate@10",
    patience=3,
)


@dataclass(frozen=True)
class Killed:
    """How a training ended.

    Attributes:
        code: of the process; -9 after SIGKILL.
        epochs: of which there is a checkpoint.
        unfinished: whether a checkpoint was left half-written.
    """

    code: int
    epochs: list[int]
    unfinished: bool


def small_split() -> Split:
    """A planted world that an epoch passes in a moment."""
    config = PlantedConfig(num_users=300, num_clusters=12, items_per_cluster=20)
    return leave_last_out(planted_interests(config, seed=0).log)


def small_model(split: Split) -> MIND:
    """An untrained MIND, always the same."""
    config = MINDConfig.paper(
        dim=16, hidden=(32,), history_length=20, routing=RoutingConfig.paper(max_interests=4)
    )
    return MIND(split.log, config, generator=torch.Generator().manual_seed(0))


def train(split: Split, folder: Path) -> tuple[MIND, Fit]:
    """The same call every time: it begins, or goes on from what is in the folder."""
    model = small_model(split)
    return model, fit(model, split, TRAINING, device="cpu", progress=False, checkpoints=folder)


def stopped_early(split: Split) -> Fit:
    """Many epochs are allowed, at a constant rate; two without a better value end it."""
    training = replace(TRAINING, epochs=60, patience=2, schedule="constant", warmup_steps=0)
    return fit(small_model(split), split, training, device="cpu", progress=False)


def killed(folder: Path, step: int) -> Killed:
    """Train in a process of its own, which dies by SIGKILL in the step of this number, from 1."""
    command = [sys.executable, "-m", __name__, str(folder), str(step), str(torch.get_num_threads())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if run.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the process ended with {run.returncode}: {run.stderr[-2000:]}")
    left = Checkpoints(folder)
    unfinished = any(path.suffix == PARTIAL for path in folder.iterdir())
    return Killed(run.returncode, left.epochs(), unfinished)


def _main(folder: Path, step: int, threads: int) -> None:
    torch.set_num_threads(threads)
    split = small_split()
    model = small_model(split)
    seen = 0

    def count(module: torch.nn.Module, *_: object) -> None:
        nonlocal seen
        seen += module.training
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)

    model.head.register_forward_hook(count)
    fit(model, split, TRAINING, device="cpu", progress=False, checkpoints=folder)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
