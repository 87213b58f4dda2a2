"""What each process of test_distributed.py runs.

torchrun --nproc-per-node 2 tests/distributed_child.py FOLDER
python tests/distributed_child.py FOLDER FAULT RANK SIZE
"""

import atexit
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file

import mindlib.training.fitting
from mindlib.data import PlantedConfig, Split, leave_last_out, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MIND, MINDConfig, VectorModel, YouTubeDNN, YouTubeDNNConfig
from mindlib.training import Fit, TrainingConfig, fit
from mindlib.training.checkpoints import Checkpoints


class SettledMIND(MIND):
    """MIND that draws nothing in training, so that any number of processes sees the same."""

    def encode(self, behaviors, history, *, generator):  # type: ignore[override]
        return super().encode(behaviors, history, generator=None)


OWN_CODE = 7  # with which a script ends that chose its exit code
SMALL: dict[str, Any] = {"dim": 8, "hidden": (8,), "history_length": 10}
CONFIG = TrainingConfig.paper(
    epochs=3, batch_size=17, negatives=16, learning_rate=5e-3, monitor="Recall@10", patience=3
)
SCENARIOS: dict[str, tuple[type[VectorModel], dict[str, Any]]] = {
    "youtube": (YouTubeDNN, {}),
    "settled": (SettledMIND, {"proposal": "popularity"}),
    "in-batch": (YouTubeDNN, {"in_batch": True, "proposal": "popularity"}),
    "cosine": (SettledMIND, {"schedule": "cosine"}),
    "mind": (MIND, {"learning_rate": 1e-2, "epochs": 5, "patience": 5}),
}


def made_split() -> Split:
    """Cases of which one is left for the last batch: fewer than there are processes."""
    config = PlantedConfig(num_users=42, num_clusters=12, items_per_cluster=8, num_segments=2)
    return leave_last_out(planted_interests(config, seed=0).log)


def make(split: Split, kind: type[VectorModel], seed: int = 0) -> VectorModel:
    generator = torch.Generator().manual_seed(seed)
    if issubclass(kind, YouTubeDNN):
        return kind(split.log, YouTubeDNNConfig.paper(**SMALL), generator=generator)
    assert issubclass(kind, MIND)
    config = MINDConfig.paper(**SMALL, routing=RoutingConfig.paper(max_interests=2))
    return kind(split.log, config, generator=generator)


def train(
    split: Split, name: str, *, seed: int = 0, folder: Path | None = None, **options: Any
) -> tuple[VectorModel, Fit]:
    kind, own = SCENARIOS[name]
    config = replace(CONFIG, **own | options)
    model = make(split, kind, seed)
    done = fit(model, split, config, device="cpu", progress=False, checkpoints=folder)
    return model, done


def report(model: VectorModel, done: Fit, path: Path) -> None:
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    log = [[r.step, r.loss, r.metrics["Recall@10"], r.learning_rate] for r in done.log]
    save_file(weights, path, {"log": json.dumps(log), "best_epoch": str(done.best_epoch)})


def threads() -> list[str]:
    """The names of this process's threads, those that Python does not know included."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


def every_scenario(folder: Path) -> None:
    """Weights and losses of each, from each process; then resuming, errors, and the exit."""
    rank, split = int(os.environ["RANK"]), made_split()
    running: dict[str, list[str]] = {}

    def last() -> None:
        running["after leaving"] = threads()
        (folder / f"threads-{rank}.json").write_text(json.dumps(running), encoding="utf-8")

    # What is registered before the first `fit` runs after what `fit` registers.
    atexit.register(last)
    for name in SCENARIOS:
        # Other initial weights in the other process: those of the first count.
        model, done = train(split, name, seed=rank)
        report(model, done, folder / f"{name}-{rank}.safetensors")

    checkpoints = folder / f"checkpoints-{rank}"  # as on machines that share no disk
    train(split, "mind", seed=rank, folder=checkpoints, epochs=2)
    model, done = train(split, "mind", seed=rank + 5, folder=checkpoints)
    report(model, done, folder / f"resumed-{rank}.safetensors")

    refused = {}
    try:
        train(split, "mind", folder=checkpoints, negatives=17)
    except ValueError as error:
        refused["another configuration"] = str(error)
    original = mindlib.training.fitting.training_step

    def spoiled(*arguments: Any) -> torch.Tensor:
        return original(*arguments) * (float("nan") if rank == 1 else 1)

    mindlib.training.fitting.training_step = spoiled
    try:
        train(split, "youtube")
    except FloatingPointError as error:
        refused["not finite"] = str(error)
    refused["files"] = [str(epoch) for epoch in Checkpoints(checkpoints).epochs()]
    (folder / f"refused-{rank}.json").write_text(json.dumps(refused), encoding="utf-8")
    running["before"] = threads()


def with_a_fault(folder: Path, fault: str, rank: int, size: int) -> None:
    """The second process dies, or hangs, in the middle of the second epoch."""
    store = f"file://{folder / 'store'}"
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=size, timeout=timedelta(seconds=8)
    )
    split, calls = made_split(), []
    original: Callable[..., torch.Tensor] = mindlib.training.fitting.training_step

    def faulty(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if rank == 1 and len(calls) == 20 + 35:
            os.kill(os.getpid(), signal.SIGKILL if fault == "dies" else signal.SIGSTOP)
        return original(*arguments)

    mindlib.training.fitting.training_step = faulty
    train(split, "youtube", folder=folder / "checkpoints")


def left_alone(folder: Path, rank: int, size: int) -> None:
    """The second process dies after training; the first, whose group `fit` formed, ends later."""
    os.environ["TORCHELASTIC_RUN_ID"] = "none"  # as under torchrun, which would end the first too
    store = f"file://{folder / 'store'}"
    dist.init_process_group = partial(
        dist.init_process_group, init_method=store, rank=rank, world_size=size
    )
    train(made_split(), "youtube", epochs=1)
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(2)
    sys.exit(OWN_CODE)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        every_scenario(Path(sys.argv[1]))
    elif sys.argv[2] == "leaves":
        left_alone(Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        with_a_fault(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
