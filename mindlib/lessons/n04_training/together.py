"""One training in several processes of this machine, beside the same in one (§5).

    torchrun --nproc-per-node 2 -m mindlib.lessons.n04_training.together FOLDER

is what `torchrun` below starts: any script that calls `fit` will do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.splits import Split
from mindlib.lessons.n04_training.interrupted import small_model, small_split
from mindlib.models.vector_model import VectorModel
from mindlib.models.youtube_dnn import YouTubeDNN, YouTubeDNNConfig
from mindlib.training import TrainingConfig, batches, fit, make_sampler, training_step
from mindlib.training.optimizers import distinct_rows

MODELS = ("YouTube DNN", "MIND")
TRAINING = TrainingConfig.paper(
    epochs=4,
    batch_size=256,
    negatives=64,
    learning_rate=2e-2,
    monitor="HitRate@10",
    patience=4,
)


class Trained(NamedTuple):
    """One training.

    Attributes:
        losses: of the epochs.
        weights: of the item table, in the end.
    """

    losses: list[float]
    weights: Float[Tensor, "rows dim"]


def untrained(name: str, split: Split) -> VectorModel:
    """YouTube DNN, which draws nothing in training, or MIND, which draws its logits."""
    if name == "MIND":
        return small_model(split)
    config = YouTubeDNNConfig.paper(dim=16, hidden=(32,), history_length=20)
    return YouTubeDNN(split.log, config, generator=torch.Generator().manual_seed(0))


def alone(split: Split, seed: int = 0) -> dict[str, Trained]:
    """Both models, in this process, or in all of torchrun's together."""
    trained, training = {}, replace(TRAINING, seed=seed)
    for name in MODELS:
        model = untrained(name, split)
        done = fit(model, split, training, device="cpu", progress=False)
        trained[name] = Trained([r.loss for r in done.log], model.items.weight.detach().clone())
    return trained


def torchrun(processes: int = 2, *, seconds: float = 300) -> dict[str, Trained]:
    """Both models, in several processes started by torchrun; what the first of them has."""
    # One machine, its loopback device, and as many threads for all together as here.
    threads = str(max(1, torch.get_num_threads() // processes))
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": threads}
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "1",
            "--nproc-per-node", str(processes), "--rdzv-backend", "c10d",
            "--rdzv-endpoint", "localhost:0", "-m", __name__, folder,
        ]  # fmt: skip
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env=environment
        )
        if run.returncode:
            raise RuntimeError(f"torchrun ended with {run.returncode}: {run.stderr[-2000:]}")
        saved = torch.load(Path(folder) / "trained.pt", weights_only=True)
    return {name: Trained(*values) for name, values in saved.items()}


class Exchanged(NamedTuple):
    """What one process hands to the others in a step, in bytes.

    Attributes:
        rows: of the item table that have a gradient.
        as_rows: their numbers and values.
        as_table: the whole table, if it were sent.
        dense: all other gradients.
    """

    rows: int
    as_rows: int
    as_table: int
    dense: int


def exchanged(name: str, split: Split) -> Exchanged:
    """Count it in the first step of one process."""
    model = untrained(name, split)
    generator = torch.Generator().manual_seed(0)
    batch = next(batches(split.train, TRAINING.batch_size, generator))
    sampler = make_sampler(split, TRAINING, torch.device("cpu"))
    training_step(model, batch, sampler, TRAINING, generator)
    table = model.items.weight
    assert table.grad is not None
    rows, values = distinct_rows(table.grad)
    dense = sum(p.numel() for p in model.parameters() if p is not table)
    return Exchanged(len(rows), 8 * len(rows) + 4 * values.numel(), 4 * table.numel(), 4 * dense)


if __name__ == "__main__":
    trained = alone(small_split())
    if os.environ["RANK"] == "0":
        saved = {name: tuple(values) for name, values in trained.items()}
        torch.save(saved, Path(sys.argv[1]) / "trained.pt")
