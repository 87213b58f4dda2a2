"""A small shop to try the server with, made in a few minutes from data that mindlib fetches."""

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

# Few epochs: it is there to be tried, not to be judged.
TRAINING = TrainingConfig(epochs=3)
RANKING = RankingConfig(epochs=1)
VERSION = "demonstration"


def build_demo(data: str, folder: Path, index: str = "exact") -> tuple[Path, Path]:
    """Train MIND and DIN, and put the log into a store; what is there already is kept.

    Args:
        data: as `mindlib.data.load` takes it.
        folder: in which both are made.
        index: the engine of the version's index, as `Bundle.write`.

    Returns:
        The version's folder, and the store's file.
    """
    version, store = folder / VERSION, folder / "store.sqlite"
    known = store.is_file() and _has_users(store)
    if version.is_dir() and known:
        print(f"the demonstration in {folder} is there already (delete it to make it anew)")
        return version, store
    print(f"reading {data} ...")
    log = load(data)
    if not version.is_dir():
        split = leave_last_out(log)
        counts = f"{log.num_users:,} users, {log.num_items:,} items, {len(log):,} behaviours"
        print(
            f"training MIND ({TRAINING.epochs} epochs) and DIN ({RANKING.epochs}) on {counts} ..."
        )
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
    if not known:
        print(f"writing the behaviours into {store} ...")
        folder.mkdir(parents=True, exist_ok=True)
        with closing(SqliteStore(store)) as behaviors:
            behaviors.import_log(log)
    return version, store


def train_models(split: Split) -> tuple[MIND, DINRanker]:
    """Both models, each at its defaults."""
    generator = torch.Generator().manual_seed(0)
    model = MIND(split.log, generator=generator)
    fit(model, split, TRAINING)
    din = DIN.from_log(split.log, generator=generator)
    fit_ranker(din, split, model, RANKING)
    return model, DINRanker.from_model(din, split.log)


def category_field(log: Interactions) -> str | None:
    """The item field for the re-ranking: the category, or else the first there is."""
    fields = log.item_features.fields if log.item_features else ()
    return "category" if "category" in fields else next(iter(fields), None)


def _has_users(store: Path) -> bool:
    with closing(SqliteStore(store)) as behaviors:
        return bool(behaviors.users(1))
