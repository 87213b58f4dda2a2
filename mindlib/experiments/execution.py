"""Train and evaluate a model once, or load the result from the cache.

The cache keeps the value of every case and the weights (see `mindlib.experiments.cache`). An
interrupted training run resumes from its last epoch.
"""

from __future__ import annotations

import dataclasses
import platform
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int
from torch import Tensor

from mindlib.data.splits import Split
from mindlib.evaluation import Evaluation, evaluate
from mindlib.experiments.cache import (
    CacheEntry,
    code_version,
    data_digest,
    digest_of,
    read_entry,
    write_entry,
)
from mindlib.experiments.trial import PARTS, Part, Trial, TrialRun, with_seed
from mindlib.models.baselines import Popularity, Random
from mindlib.models.vector import VectorModel
from mindlib.retrieval import Recommender
from mindlib.training import EpochRecord, Fit, fit
from mindlib.training.checkpoints import Checkpoints

RUN = "run.npz"


def run_trial(
    split: Split,
    trial: Trial,
    cutoffs: Sequence[int],
    cache: Path | None = None,
    *,
    parts: Sequence[Part] = PARTS,
    categories: str | None = None,
    device: str = "auto",
    progress: bool = False,
) -> TrialRun:
    """Train and evaluate a model, or load what the cache has of it.

    Two processes may share a cache: the second one that needs the same run waits for the first.

    Args:
        cutoffs: the N of the metrics.
        cache: a folder, which is created if necessary; None stores nothing.
        parts: the cases to evaluate on. Others can be requested later without training again,
            because the weights are stored.
        categories: an item field, for Categories@N.
        progress: show a progress bar during training.

    Raises:
        ValueError, OSError, FloatingPointError: as `fit` and `evaluate` do.
        KeyError: the items have no such field.
    """
    execution = _Execution(split, trial, tuple(cutoffs), categories, device, progress)
    if cache is None:
        return execution.compute(None, parts)
    folder = execution.folder(cache)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        return execution.load_cached(folder, parts) or execution.compute(folder, parts)


def trained_model(split: Split, trial: Trial, cache: Path) -> Recommender:
    """Load the model of a cached run.

    Raises:
        FileNotFoundError: the cache has no such run.
    """
    execution = _Execution(split, trial, (), None, "cpu", False)
    folder = execution.folder(cache)
    if run := read_entry(folder / RUN, execution.identity):
        return execution.load_model(run)
    raise FileNotFoundError(
        f"{cache} has no run of {trial.name!r} with this configuration, data and schema; call "
        f"run_trial with the same trial and cache first"
    )


def item_categories(split: Split, name: str) -> Int[Tensor, " items_plus_one"]:
    """Return the category of each item by one of its fields, as `evaluate` takes them.

    Raises:
        KeyError: the items have no such field.
    """
    features = split.log.item_features
    if features is None:
        raise KeyError(f"no field {name!r}: the items of {split.log.name!r} have no fields")
    return torch.from_numpy(np.ascontiguousarray(features.column(name)))


@dataclass
class _Execution:
    """A trial on a split with the options of its evaluation."""

    split: Split
    trial: Trial
    cutoffs: tuple[int, ...]
    categories: str | None
    device: str
    progress: bool

    def __post_init__(self) -> None:
        self.identity = self.trial.identity | {"data": data_digest(self.split)}

    def folder(self, cache: Path) -> Path:
        return Path(cache).expanduser() / digest_of(self.identity)[:32]

    def load_cached(self, folder: Path, parts: Sequence[Part]) -> TrialRun | None:
        """Load a run, and evaluate it on the parts that are missing; None if there is no run."""
        run = read_entry(folder / RUN, self.identity)
        if run is None:
            return None
        model, entries = None, {}
        for part in parts:
            entry = read_entry(*self._place(folder, part))
            if entry is None:
                model = model or self.load_model(run)
                entry = self._evaluate(model, part, folder)
            entries[part] = entry
        return self._result(run, entries)

    def compute(self, folder: Path | None, parts: Sequence[Part]) -> TrialRun:
        """Train and evaluate, whatever the folder has; interrupted training resumes."""
        if folder:
            for file in folder.glob("*.npz"):  # of a damaged run
                file.unlink()
        started = time.perf_counter()
        model, how = self._make(folder)
        seconds = sum(e.seconds for e in how.log) if how else time.perf_counter() - started
        facts = self.identity | {
            "name": self.trial.name,
            "fit": dataclasses.asdict(how) if how else None,
            "seconds": seconds,
            "commit": code_version(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }
        weights = model.state_dict() if isinstance(model, VectorModel) else {}
        run = CacheEntry({name: w.cpu().numpy() for name, w in weights.items()}, facts)
        entries: dict[Part, CacheEntry] = {p: self._evaluate(model, p, folder) for p in parts}
        if folder:
            write_entry(folder / RUN, run)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return self._result(run, entries)

    def load_model(self, run: CacheEntry) -> Recommender:
        """Build a trained model with its weights; fit again what is not trained by steps."""
        if not self.trial.is_trained:
            return self._fitted()
        model = self._built()
        model.load_state_dict({name: torch.from_numpy(w) for name, w in run.arrays.items()})
        return model.eval()

    def _make(self, folder: Path | None) -> tuple[Recommender, Fit | None]:
        if not self.trial.is_trained:
            return self._fitted(), None
        model = self._built()
        checkpoints = folder / "checkpoints" if folder else None
        if checkpoints:
            _drop_damaged(checkpoints)
        how = fit(
            model,
            self.split,
            replace(self.trial.training, seed=self.trial.seed),
            device=self.device,
            progress=self.progress,
            checkpoints=checkpoints,
        )
        return model, how

    def _built(self) -> VectorModel:
        generator = torch.Generator().manual_seed(self.trial.seed)
        config = with_seed(self.trial.config, self.trial.seed)
        return self.trial.model(self.split.log, config, generator=generator)

    def _fitted(self) -> Recommender:
        trial = self.trial
        if trial.model is Random:
            return Random(self.split.log.num_items, trial.seed)
        if trial.model is Popularity:
            return Popularity(self.split.train_counts)
        return trial.model.fit(self.split, with_seed(trial.config, trial.seed))  # pyright: ignore

    def _place(self, folder: Path, part: Part) -> tuple[Path, dict[str, Any]]:
        """Return the file of a part's values, and the facts that it must hold."""
        how = {
            "run": digest_of(self.identity),
            "part": part,
            "cutoffs": list(self.cutoffs),
            "categories": self.categories,
        }
        return folder / f"{part}-{digest_of(how)[:16]}.npz", how

    def _evaluate(self, model: Recommender, part: Part, folder: Path | None) -> CacheEntry:
        result = evaluate(
            model,
            getattr(self.split, part),
            self.cutoffs,
            exclude_history=self.trial.training.exclude_history,
            categories=item_categories(self.split, self.categories) if self.categories else None,
        )
        arrays = {name: value.numpy() for name, value in result.values.items()}
        facts = {"coverage": result.coverage, "commit": code_version()}
        if folder is None:
            return CacheEntry(arrays, facts)
        path, how = self._place(folder, part)
        write_entry(path, entry := CacheEntry(arrays, how | facts))
        return entry

    def _result(self, run: CacheEntry, entries: Mapping[Part, CacheEntry]) -> TrialRun:
        how = run.facts["fit"]
        evaluations: dict[Part, Evaluation] = {
            part: Evaluation(
                {name: torch.from_numpy(value) for name, value in entry.arrays.items()},
                entry.facts["coverage"],
            )
            for part, entry in entries.items()
        }
        return TrialRun(
            trial=self.trial,
            evaluations=evaluations,
            fit=Fit(**how | {"log": [EpochRecord(**record) for record in how["log"]]})
            if how
            else None,
            seconds=run.facts["seconds"],
            commits=tuple(dict.fromkeys(e.facts["commit"] for e in (run, *entries.values()))),
        )


def _drop_damaged(folder: Path) -> None:
    """Delete all checkpoints if one is damaged, since training would refuse to resume."""
    checkpoints = Checkpoints(folder)
    try:
        for epoch in checkpoints.epochs():
            checkpoints.read(epoch)
    except ValueError as error:
        warnings.warn(f"{error}; training starts again", stacklevel=2)
        shutil.rmtree(folder)
