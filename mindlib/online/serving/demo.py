"""Build a demonstration of the server, in a few minutes, from data that mindlib downloads."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import torch

from mindlib.data import Interactions, leave_last_out, load
from mindlib.models import MIND
from mindlib.online.ranking.din import DIN
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.ranking.training import RankingConfig, fit_ranker
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.store import SqliteStore
from mindlib.training import TrainingConfig, fit

# Few epochs, because a demonstration is not evaluated.
TRAINING = TrainingConfig(epochs=3)
RANKING = RankingConfig(epochs=1)
VERSION = "demo"


def build_demo(data: str, folder: Path, index: str = "exact") -> tuple[Path, Path]:
    """Train MIND and DIN, and import the log into a store; existing parts are kept.

    Args:
        data: the data set, as in `mindlib.data.load`.
        folder: the folder of both.
        index: the engine of the index, as in `Bundle.write`.

    Returns:
        The folder of the version, and the file of the store.
    """
    version, path = folder / VERSION, folder / "store.sqlite"
    log = None if path.is_file() else load(data)  # before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    with closing(SqliteStore(path)) as store:
        is_imported = bool(store.users(1))
        if version.is_dir() and is_imported:
            print(f"the demonstration in {folder} exists already (delete it to build it again)")
            return version, path
        log = load(data) if log is None else log
        if not version.is_dir():
            _write_version(version, log, index)
        if not is_imported:
            print(f"writing the behaviors into {path} ...")
            store.import_log(log)
    return version, path


def _write_version(folder: Path, log: Interactions, index: str) -> None:
    split, generator = leave_last_out(log), torch.Generator().manual_seed(0)
    counts = f"{log.num_users:,} users, {log.num_items:,} items, {len(log):,} behaviors"
    epochs = f"MIND ({TRAINING.epochs} epochs) and DIN ({RANKING.epochs})"
    print(f"training {epochs} on {counts} ...")
    model = MIND(log, generator=generator)
    fit(model, split, TRAINING, device="cpu")  # where it will serve
    din = DIN.from_log(log, generator=generator)
    fit_ranker(din, split, model, RANKING)
    print(f"writing the version into {folder} ...")
    fields = log.item_features.fields if log.item_features else ()
    Bundle.write(
        folder,
        version=VERSION,
        model=model,
        log=log,
        counts=split.train_counts,
        ranker=DINRanker.from_model(din, log),
        category="category" if "category" in fields else next(iter(fields), None),
        index=index,
    )
