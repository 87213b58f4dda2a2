"""Build a demonstration of the server, in a few minutes, from data that mindlib downloads."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import torch

from mindlib.data import Interactions, leave_last_out, load
from mindlib.data.splits import Split
from mindlib.models import MIND
from mindlib.online.ranking import DIN, DINRanker, RankingConfig, fit_ranker
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
    version, store = folder / VERSION, folder / "store.sqlite"
    is_imported = store.is_file() and _has_users(store)
    if version.is_dir() and is_imported:
        print(f"the demonstration in {folder} exists already (delete it to build it again)")
        return version, store
    print(f"reading {data} ...")
    log = load(data)
    if not version.is_dir():
        split = leave_last_out(log)
        counts = f"{log.num_users:,} users, {log.num_items:,} items, {len(log):,} behaviors"
        epochs = f"MIND ({TRAINING.epochs} epochs) and DIN ({RANKING.epochs})"
        print(f"training {epochs} on {counts} ...")
        model, ranker = train_models(split)
        print(f"writing the version into {version} ...")
        Bundle.write(
            version,
            version=VERSION,
            model=model,
            log=log,
            counts=split.train_counts,
            ranker=ranker,
            category=category_field(log),
            index=index,
        )
    if not is_imported:
        print(f"writing the behaviors into {store} ...")
        folder.mkdir(parents=True, exist_ok=True)
        with closing(SqliteStore(store)) as behaviors:
            behaviors.import_log(log)
    return version, store


def train_models(split: Split) -> tuple[MIND, DINRanker]:
    """Train both models with their default configurations."""
    generator = torch.Generator().manual_seed(0)
    model = MIND(split.log, generator=generator)
    fit(model, split, TRAINING)
    din = DIN.from_log(split.log, generator=generator)
    fit_ranker(din, split, model, RANKING)
    return model, DINRanker.from_model(din, split.log)


def category_field(log: Interactions) -> str | None:
    """Return the item field for re-ranking: "category", or the first field."""
    fields = log.item_features.fields if log.item_features else ()
    return "category" if "category" in fields else next(iter(fields), None)


def _has_users(store: Path) -> bool:
    with closing(SqliteStore(store)) as behaviors:
        return bool(behaviors.users(1))
