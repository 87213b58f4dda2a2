"""One training and judging, kept: a `Trial` says what, `run_trial` does it or finds it done.

A result is kept under all that decides it (see `mindlib.experiments.cache`), with the value of
every case and the weights. What was interrupted goes on from its last epoch.
"""

from __future__ import annotations

import dataclasses
import platform
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int
from torch import Tensor

from mindlib.data.splits import Split
from mindlib.evaluation import Evaluation, evaluate
from mindlib.experiments.cache import (
    Stored,
    code_digest,
    data_digest,
    digest_of,
    plain,
    read,
    write,
)
from mindlib.models.baselines import Popularity, Random
from mindlib.models.vector import VectorModel
from mindlib.retrieval import Recommender
from mindlib.training import EpochRecord, Fit, TrainingConfig, fit
from mindlib.training.checkpoints import Checkpoints

Part = Literal["validation", "test"]
PARTS: tuple[Part, ...] = ("validation", "test")
CUTOFFS = (10, 50, 100, 500, 1000)


@dataclass(frozen=True)
class Trial:
    """A model with its configuration, its training and its seed.

    Attributes:
        name: of the row in a table; it decides nothing.
        model: a `VectorModel`, which is trained; or what is fitted without (ItemCF, WALS); or
            Popularity or Random.
        config: the model's frozen dataclass; None for Popularity and Random. If it has a field
            `seed`, that is replaced by the trial's.
        training: its seed is replaced by the trial's. Of what is not trained only
            `exclude_history` counts.
        seed: draws the initial weights, the order of the pairs, the negatives and the logits.
    """

    name: str
    model: type
    config: Any = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        floor = self.model in (Popularity, Random)
        if not (floor or self.trained or hasattr(self.model, "fit")):
            raise ValueError(
                f"model={self.model.__name__}: expected a VectorModel, a class with "
                f"fit(split, config), Popularity or Random"
            )
        if floor != (self.config is None):
            raise ValueError(
                f"config={self.config!r}: expected "
                f"{'None' if floor else 'the configuration'} for {self.model.__name__}"
            )

    @property
    def trained(self) -> bool:
        """Whether it is trained by steps."""
        return issubclass(self.model, VectorModel)

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the result, apart from data and code."""
        training = replace(self.training, seed=self.seed)
        return {
            "model": plain(self.model),
            "config": plain(_seeded(self.config, self.seed)),
            "training": plain(training)
            if self.trained
            else {"exclude_history": training.exclude_history},
            "seed": self.seed,
        }


@dataclass(frozen=True)
class TrialRun:
    """A trial and what it came to.

    Attributes:
        trial: what was asked for.
        evaluations: the values of each case, by part.
        fit: how it was trained; None for what is not.
        seconds: of training; of fitting, for what is not trained by steps.
        codes: the digests of the code that it was computed with: one, unless a part was judged
            later by other code (`trust_code`).
        versions: of Python and the libraries.
    """

    trial: Trial
    evaluations: dict[Part, Evaluation]
    fit: Fit | None
    seconds: float
    codes: tuple[str, ...]
    versions: dict[str, str]

    @property
    def model(self) -> str:
        """The row of the table."""
        return self.trial.name

    @property
    def seed(self) -> int:
        """The trial's."""
        return self.trial.seed

    @property
    def evaluation(self) -> Evaluation:
        """On the test cases."""
        return self.evaluations["test"]


def run_trial(
    split: Split,
    trial: Trial,
    cutoffs: Sequence[int],
    cache: Path | None = None,
    *,
    parts: Sequence[Part] = PARTS,
    categories: str | None = None,
    trust_code: bool = False,
    device: str = "auto",
    progress: bool = False,
) -> TrialRun:
    """Train and judge, or find in the cache what was trained and judged before.

    Two processes may share a cache: the second one that wants the same run waits for it.

    Args:
        cutoffs: the N of the metrics.
        cache: a folder, which is made if it is not there; None keeps nothing.
        parts: the cases to judge on. Others of the same run can be asked for later: the weights
            are kept, and nothing is trained twice.
        categories: an item field, for Categories@N.
        trust_code: take a run made by another version of the code, if this one has none: the
            newest. `TrialRun.codes` tells.
        progress: show a bar while it trains.

    Raises:
        ValueError, OSError, FloatingPointError: as of `fit` and `evaluate`.
        KeyError: the items have no such field.
    """
    work = _Work(split, trial, tuple(cutoffs), categories, device, progress)
    if cache is None:
        return work.compute(None, parts)
    home = Path(cache).expanduser() / work.key[:32]
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "lock"):
        own = home / code_digest()[:16]
        folders = [own]
        if trust_code:
            others = (file.parent for file in home.glob("*/run.json") if file.parent != own)
            folders += sorted(others, key=lambda f: (f / "run.json").stat().st_mtime, reverse=True)
        for folder in folders:
            if found := work.found(folder, parts):
                return found
        return work.compute(own, parts)


def trained_model(
    split: Split, trial: Trial, cache: Path, *, trust_code: bool = False
) -> Recommender:
    """The model of a run that is in the cache, with the weights that were judged.

    Raises:
        FileNotFoundError: there is no such run.
    """
    work = _Work(split, trial, (), None, "cpu", False)
    home = Path(cache).expanduser() / work.key[:32]
    folders = [home / code_digest()[:16]]
    if trust_code:
        files = sorted(home.glob("*/run.json"), key=lambda file: file.stat().st_mtime)
        folders += [file.parent for file in reversed(files)]
    for folder in folders:
        if read(folder / "run.json", work.identity) and (model := work.stored_model(folder)):
            return model
    raise FileNotFoundError(
        f"{cache} has no run of {trial.name!r} with this configuration, data and code; call "
        f"run_trial with the same trial and cache first"
    )


class Tuned(NamedTuple):
    """Which candidate was the best on the validation cases.

    Attributes:
        best: the candidate; of equals the first.
        candidates: all of them.
        values: what each of them reached; NaN if its training broke down.
        metric: in which metric.
    """

    best: Trial
    candidates: tuple[Trial, ...]
    values: list[float]
    metric: str


def tune(
    split: Split,
    candidates: Sequence[Trial],
    *,
    budget: int,
    cutoffs: Sequence[int] = CUTOFFS,
    metric: str = "Recall@50",
    **options: Any,
) -> Tuned:
    """Choose among settings of a model, by the validation cases alone; the test is not judged.

    Args:
        candidates: settings of one model, different ones.
        budget: how many settings every model of the table may try; so many there must be.
        metric: what is compared.
        options: passed to `run_trial`: cache, categories, trust_code, device, progress.

    Raises:
        ValueError: another number of candidates than the budget, the same one twice, or a metric
            that the cutoffs do not have.
        FloatingPointError: the training of every candidate broke down.
    """
    if len(candidates) != budget:
        raise ValueError(
            f"{len(candidates)} settings of {candidates[0].name if candidates else 'nothing'}; "
            f"expected {budget}, as many as every model of the table has"
        )
    if len({digest_of(candidate.identity) for candidate in candidates}) != len(candidates):
        raise ValueError(f"two settings of {candidates[0].name} are the same; give {budget} others")
    if "parts" in options:
        raise ValueError("parts: settings are chosen on the validation cases; leave it out")
    if int(metric.partition("@")[2]) not in cutoffs:
        raise ValueError(f"metric={metric!r}: expected one with N among {tuple(cutoffs)}")
    values = []
    for candidate in candidates:
        try:
            run = run_trial(split, candidate, cutoffs, parts=("validation",), **options)
            values.append(run.evaluations["validation"].means()[metric])
        except FloatingPointError as error:
            warnings.warn(f"{candidate.name}: {error}", stacklevel=2)
            values.append(np.nan)
    if np.isnan(values).all():
        raise FloatingPointError(f"no setting of {candidates[0].name} could be trained; see above")
    return Tuned(candidates[int(np.nanargmax(values))], tuple(candidates), values, metric)


def item_categories(split: Split, name: str) -> Int[Tensor, " items_plus_one"]:
    """The category of each item by one of its fields, as `evaluate` takes them.

    Raises:
        KeyError: the items have no such field.
    """
    features = split.log.item_features
    if features is None:
        raise KeyError(f"no field {name!r}: the items of {split.log.name!r} have no fields")
    return torch.from_numpy(np.ascontiguousarray(features.column(name)))


class _Work:
    """A trial on a split, judged in one way: how to compute it, and how to find it computed."""

    def __init__(
        self,
        split: Split,
        trial: Trial,
        cutoffs: tuple[int, ...],
        categories: str | None,
        device: str,
        progress: bool,
    ) -> None:
        self.split, self.trial = split, trial
        self.cutoffs, self.categories = cutoffs, categories
        self.device, self.progress = device, progress
        self.identity = trial.identity | {"data": data_digest(split)}
        self.key = digest_of(self.identity)

    def found(self, folder: Path, parts: Sequence[Part]) -> TrialRun | None:
        """What a folder has, completed by the parts that it lacks; None if it has no run."""
        run = read(folder / "run.json", self.identity)
        if run is None:
            return None
        stored: dict[Part, Stored] = {}
        for part in parts:
            if kept := read(*self._place(folder, part)):
                stored[part] = kept
        if len(stored) < len(set(parts)):
            model = self.stored_model(folder)
            if model is None:
                return None
            for part in parts:
                if part not in stored:
                    stored[part] = self._judge(model, part, folder)
        return self._result(run, {part: stored[part] for part in parts})

    def compute(self, folder: Path | None, parts: Sequence[Part]) -> TrialRun:
        """Train and judge, whatever is there; an interrupted training goes on."""
        if folder:
            for file in folder.glob("*.npz"):  # of a run that is damaged
                file.unlink()
        started = time.perf_counter()
        model, how = self._make(folder)
        seconds = sum(e.seconds for e in how.log) if how else time.perf_counter() - started
        facts = self.identity | {
            "name": self.trial.name,
            "fit": dataclasses.asdict(how) if how else None,
            "seconds": seconds,
            "code": code_digest(),
            "versions": _versions(),
        }
        stored: dict[Part, Stored] = {part: self._judge(model, part, folder) for part in parts}
        run = Stored({}, facts)
        if folder:
            if isinstance(model, VectorModel):
                arrays = {name: w.cpu().numpy() for name, w in model.state_dict().items()}
                write(folder / "weights.npz", Stored(arrays, self.identity))
            write(folder / "run.json", run)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return self._result(run, stored)

    def stored_model(self, folder: Path) -> Recommender | None:
        """The model with the weights in a folder; what is not trained is fitted again."""
        if not self.trial.trained:
            return self._fitted()
        stored = read(folder / "weights.npz", self.identity)
        if stored is None:
            return None
        model = self._built()
        model.load_state_dict({name: torch.from_numpy(w) for name, w in stored.arrays.items()})
        return model.eval()

    def _make(self, folder: Path | None) -> tuple[Recommender, Fit | None]:
        if not self.trial.trained:
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
        return self.trial.model(
            self.split.log, _seeded(self.trial.config, self.trial.seed), generator=generator
        )

    def _fitted(self) -> Recommender:
        trial = self.trial
        if trial.model is Random:
            return Random(self.split.log.num_items, trial.seed)
        if trial.model is Popularity:
            return Popularity(self.split.train_counts)
        return trial.model.fit(self.split, _seeded(trial.config, trial.seed))  # pyright: ignore

    def _place(self, folder: Path, part: Part) -> tuple[Path, dict[str, Any]]:
        """Where the values of a part are, and what they must say of themselves."""
        how = {
            "run": self.key,
            "part": part,
            "cutoffs": list(self.cutoffs),
            "categories": self.categories,
        }
        return folder / f"{part}-{digest_of(how)[:16]}.npz", how

    def _judge(self, model: Recommender, part: Part, folder: Path | None) -> Stored:
        result = evaluate(
            model,
            getattr(self.split, part),
            self.cutoffs,
            exclude_history=self.trial.training.exclude_history,
            categories=item_categories(self.split, self.categories) if self.categories else None,
        )
        arrays = {name: value.numpy() for name, value in result.values.items()}
        facts = {"coverage": result.coverage, "code": code_digest()}
        if folder is None:
            return Stored(arrays, facts)
        path, how = self._place(folder, part)
        stored = Stored(arrays, how | facts)
        write(path, stored)
        return stored

    def _result(self, run: Stored, parts: Mapping[Part, Stored]) -> TrialRun:
        how = run.facts["fit"]
        return TrialRun(
            trial=self.trial,
            evaluations={
                part: Evaluation(
                    {name: torch.from_numpy(value) for name, value in stored.arrays.items()},
                    stored.facts["coverage"],
                )
                for part, stored in parts.items()
            },
            fit=Fit(**how | {"log": [EpochRecord(**record) for record in how["log"]]})
            if how
            else None,
            seconds=run.facts["seconds"],
            codes=tuple(
                dict.fromkeys([run.facts["code"], *(p.facts["code"] for p in parts.values())])
            ),
            versions=run.facts["versions"],
        )


def _seeded(config: Any, seed: int) -> Any:
    if config is None or "seed" not in {field.name for field in dataclasses.fields(config)}:
        return config
    return replace(config, seed=seed)


def _drop_damaged(folder: Path) -> None:
    """Delete the checkpoints if one is damaged, since training would refuse to go on from it."""
    checkpoints = Checkpoints(folder)
    try:
        for epoch in checkpoints.epochs():
            checkpoints.read(epoch)
    except ValueError as error:
        warnings.warn(f"{error}; training begins again", stacklevel=2)
        shutil.rmtree(folder)


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
