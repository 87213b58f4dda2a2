"""Train and evaluate a model once, or load the result from the cache.

The cache keeps the value of every case and the weights (see `mindlib.experiments.cache`). An
interrupted training run resumes from its last epoch.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from mindlib.data.splits import Split
from mindlib.data.storage import digest_of
from mindlib.data.tensor_file import TensorFile, write_tensors
from mindlib.evaluation import Evaluation, evaluate
from mindlib.experiments.cache import FORM, code_version, read_entry
from mindlib.experiments.trial import PARTS, Part, Trial, TrialRun
from mindlib.models.popularity import Popularity, Random
from mindlib.models.vector_model import VectorModel
from mindlib.retrieval import Recommender
from mindlib.training import EpochRecord, Fit, fit
from mindlib.training.checkpoints import Checkpoints

RUN = "run"


def run_trial(
    split: Split,
    trial: Trial,
    cutoffs: Sequence[int],
    cache: Path,
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
        cache: a folder, which is created if necessary.
        parts: the cases to evaluate on. Others can be requested later without training again,
            because the weights are stored.
        categories: an item field, for Categories@N.
        progress: show a progress bar during training.

    Raises:
        ValueError, OSError, FloatingPointError: as `fit` and `evaluate` do, or the items have no
            such field.
    """
    codes = torch.from_numpy(split.log.item_categories(categories)) if categories else None
    identity, folder = _identity(split, trial, cache)
    folder.mkdir(parents=True, exist_ok=True)
    evaluations: dict[Part, Evaluation] = {}
    with FileLock(folder / "lock"):
        model, run = None, read_entry(folder / RUN)
        if run is None:
            model, run = _train(split, trial, identity, folder, device, progress)
        commits = [run.facts["commit"]]
        for part in parts:
            options = {"cutoffs": list(cutoffs), "categories": categories}
            key = options | {"run": digest_of(identity), "part": part}
            path = folder / f"{part}-{digest_of(key)[:16]}"
            entry = read_entry(path)
            if entry is None:
                model = model or _load_model(split, trial, run)
                result = evaluate(
                    model,
                    getattr(split, part),
                    tuple(cutoffs),
                    exclude_history=trial.training.exclude_history,
                    categories=codes,
                )
                facts = options | {"coverage": result.coverage, "commit": code_version()}
                write_tensors(path, FORM, entry := TensorFile(result.values, facts))
            evaluations[part] = Evaluation(entry.tensors, entry.facts["coverage"])
            commits.append(entry.facts["commit"])
    if how := run.facts["fit"]:
        how = Fit(**how | {"log": [EpochRecord(**record) for record in how["log"]]})
    return TrialRun(trial, evaluations, how, run.facts["seconds"], tuple(dict.fromkeys(commits)))


def trained_model(split: Split, trial: Trial, cache: Path) -> Recommender:
    """Load the model of a cached run.

    Raises:
        FileNotFoundError: the cache has no such run.
    """
    _, folder = _identity(split, trial, cache)
    if run := read_entry(folder / RUN):
        return _load_model(split, trial, run)
    raise FileNotFoundError(
        f"{cache} has no run of {trial.name!r} with this configuration, data and schema; call "
        f"run_trial with the same trial and cache first"
    )


def _identity(split: Split, trial: Trial, cache: Path) -> tuple[dict[str, Any], Path]:
    """Return everything that decides the result apart from the code, and the run's folder."""
    identity = trial.identity | {"data": split.digest}
    return identity, Path(cache).expanduser() / digest_of(identity)[:32]


def _build(split: Split, trial: Trial) -> Recommender:
    """Build a model; those that are not trained by gradient steps are fitted as well."""
    if trial.model is Random:
        return Random(split.log.num_items, trial.seed)
    if trial.model is Popularity:
        return Popularity(split.train_counts)
    if trial.is_trained:
        generator = torch.Generator().manual_seed(trial.seed)
        return trial.model(split.log, trial.config, generator=generator)
    return trial.model.fit(split, trial.config)  # pyright: ignore[reportAttributeAccessIssue]


def _load_model(split: Split, trial: Trial, run: TensorFile) -> Recommender:
    """Build a model with the weights of its run; fit again what is not trained by steps."""
    model = _build(split, trial)
    if isinstance(model, VectorModel):
        model.load_state_dict(run.tensors)
        model.eval()
    return model


def _train(
    split: Split, trial: Trial, identity: dict[str, Any], folder: Path, device: str, progress: bool
) -> tuple[Recommender, TensorFile]:
    """Train a model, or resume its interrupted training, and write its run."""
    for file in (folder / RUN, *(file for part in PARTS for file in folder.glob(f"{part}-*"))):
        file.unlink(missing_ok=True)
    started, checkpoints = time.perf_counter(), folder / "checkpoints"
    model, weights, how = _build(split, trial), {}, None
    seconds = time.perf_counter() - started
    if isinstance(model, VectorModel):
        _drop_damaged(checkpoints)
        how = fit(model, split, trial.training, device=device, progress=progress,
                  checkpoints=checkpoints)  # fmt: skip
        seconds = sum(epoch.seconds for epoch in how.log)
        weights = {name: weight.cpu() for name, weight in model.state_dict().items()}
    facts = identity | {
        "name": trial.name,
        "fit": dataclasses.asdict(how) if how else None,
        "seconds": seconds,
        "commit": code_version(),
    }
    write_tensors(folder / RUN, FORM, run := TensorFile(weights, facts))
    shutil.rmtree(checkpoints, ignore_errors=True)
    return model, run


def _drop_damaged(folder: Path) -> None:
    """Delete all checkpoints if one is damaged, since training would refuse to resume."""
    checkpoints = Checkpoints(folder)
    try:
        for epoch in checkpoints.epochs():
            checkpoints.read(epoch)
    except ValueError as error:
        warnings.warn(f"{error}; training starts again", stacklevel=2)
        shutil.rmtree(folder)
