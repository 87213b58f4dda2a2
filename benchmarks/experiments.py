"""The recorded tables of section 4: every model, equally tuned, on one data set and one protocol.

    python benchmarks/experiments.py --data amazon-beauty=PATH --protocol held-out-users \\
        --cache DIR --out FILE.json [--models a,b:3] [--studies a,b [--base a]] [--only a,b]

Each model tries as many settings as every other, and the validation cases choose (with seed 0).
The chosen one is trained with `--seeds` seeds (a row named as `b:3` with three) and judged on the
test cases. A study changes one
factor of the chosen setting of `--base`. Names are written as in the table or in small letters with
hyphens; `--list` prints them.

Everything is kept in the cache: the same command again goes on where it was stopped, to the epoch.
The results are written after each row. Two commands may share a cache. Once the code has changed,
its runs are made anew; `--trust-code` takes the old ones (each row says by which code it was made).
The values of single users stay in the cache.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from mindlib.data import SPLITS, Interactions, Split, load
from mindlib.evaluation import history_categories
from mindlib.experiments.cache import code_digest, plain
from mindlib.experiments.claims import PAIRS
from mindlib.experiments.results import Values, over_seeds, paired, rounded, row_of
from mindlib.experiments.search_space import BUDGET, STUDIES, TRAINING, Entry, search_space
from mindlib.experiments.trial import (
    CUTOFFS,
    Trial,
    TrialRun,
    Tuned,
    item_categories,
    run_trial,
    tune,
)
from mindlib.training import TrainingConfig

BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"
METRIC = "Recall@50"
SPLIT_SEED = 0
# The row that seconds are relative to.
CLOCK = "YouTube DNN"


class Data(NamedTuple):
    """A data set by its name.

    Attributes:
        read: from where it lies to the log.
        categories: the item field by which lists and pasts are counted; None if there is none.
    """

    read: Callable[[str], Interactions]
    categories: str | None


def _planted(_: str) -> Interactions:
    from mindlib.data import PlantedConfig, planted_interests

    return planted_interests(PlantedConfig(num_users=300, num_clusters=8, items_per_cluster=20)).log


DATA = {
    "amazon-beauty": Data(load, "category"),
    "amazon-cds": Data(load, None),
    "complete-journey": Data(lambda _: load("complete-journey"), "department"),
    "movielens-1m-positive": Data(load, "genre"),
    "taobao-favourites": Data(lambda path: load(path).k_core(3), "category"),
    "planted": Data(_planted, "department"),
}
WITHOUT_PATH = ("complete-journey", "planted")


def slug(name: str) -> str:
    """A name as it is easily typed."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


@dataclass(frozen=True)
class Job:
    """What the rows are made from, and where they are kept.

    Attributes:
        cutoffs: those of `CUTOFFS` that the catalogue has.
        only: slugs of the rows that are wanted; all if empty.
        places: of rows whose setting was chosen on other cases, its place among the candidates.
        settled: the settings that have been chosen.
    """

    split: Split
    training: TrainingConfig
    shape: dict[str, Any]
    categories: str | None
    cutoffs: tuple[int, ...]
    cache: Path
    trust_code: bool
    device: str
    only: frozenset[str]
    places: dict[str, int] = field(default_factory=dict)
    settled: dict[str, tuple[Trial, Tuned | None]] = field(default_factory=dict)

    def run(self, trial: Trial, seeds: int) -> list[TrialRun]:
        """The trial with the seeds 0, 1, ..., a line printed for each."""
        runs = []
        for seed in range(seeds):
            run = run_trial(
                self.split, replace(trial, seed=seed), self.cutoffs, self.cache, **self.options
            )
            say(f"  {trial.name}, seed {seed}: {told(run)}")
            runs.append(run)
        return runs

    def chosen(self, entry: Entry, table: dict[str, Entry]) -> tuple[Trial, Tuned | None]:
        """The setting of a row that the validation cases choose."""
        if entry.name not in self.settled:
            base = self.chosen(table[entry.base], table)[0] if entry.base else None
            candidates = entry.candidates(base)
            if entry.name in self.places:
                self.settled[entry.name] = (candidates[self.places[entry.name]], None)
                return self.settled[entry.name]
            # Of chance and popularity there is nothing to choose.
            tuned = self.tuned(candidates) if len(candidates) > 1 else None
            self.settled[entry.name] = (tuned.best if tuned else candidates[0], tuned)
        return self.settled[entry.name]

    def tuned(self, candidates: Sequence[Trial]) -> Tuned:
        """The best setting, after a line printed for each."""
        for number, trial in enumerate(candidates, start=1):
            try:
                run = run_trial(
                    self.split,
                    trial,
                    self.cutoffs,
                    self.cache,
                    parts=("validation",),
                    **self.options,
                )
                say(f"  {trial.name}, setting {number}: {told(run)}")
            except FloatingPointError as error:
                say(f"  {trial.name}, setting {number}: {error}")
        tuned = tune(
            self.split,
            candidates,
            budget=BUDGET,
            cutoffs=self.cutoffs,
            metric=METRIC,
            cache=self.cache,
            **self.options,
        )
        say(f"  {tuned.best.name}: setting {tuned.candidates.index(tuned.best) + 1} is chosen")
        return tuned

    @property
    def options(self) -> dict[str, Any]:
        """Of every run."""
        return {
            "categories": self.categories,
            "trust_code": self.trust_code,
            "device": self.device,
            "progress": sys.stderr.isatty(),
        }

    def wants(self, name: str) -> bool:
        """Whether the row is to be made."""
        return not self.only or slug(name) in self.only


class Row(NamedTuple):
    """A finished row.

    Attributes:
        study: whose row it is; None of the table's own.
        facts: as recorded.
        values: of each test case, averaged over seeds; None of a training that broke down.
    """

    study: str | None
    facts: dict[str, Any]
    values: Values | None


def rows(
    job: Job,
    touched: Int[Tensor, " cases"] | None,
    models: Sequence[str],
    studies: Sequence[str],
    base: str,
    *,
    seeds: int,
    seeds_of: Mapping[str, int],
    study_seeds: int,
) -> Iterator[Row]:
    """The table's rows in the order of `models`, then those of the studies.

    Args:
        seeds_of: of models that have another number of seeds.
        touched: how many categories the past of each test case touches, if items have any.
    """
    table = search_space(job.training, job.shape)

    def row(trial: Trial, tuned: Tuned | None, count: int, study: str | None = None) -> Row:
        try:
            runs = job.run(trial, count)
        except FloatingPointError as error:
            say(f"  {trial.name}: {error}")
            return Row(study, {"name": trial.name, "failed": str(error)}, None)
        return Row(study, row_of(runs, touched, tuned), over_seeds(runs, "test"))

    for name in models:
        if job.wants(name):
            say(name)
            trial, tuned = job.chosen(table[name], table)
            yield row(trial, tuned, seeds_of.get(name, seeds) if table[name].drawn else 1)
    for study in studies:
        chosen, _ = job.chosen(table[base], table)
        variants = [trial for trial in STUDIES[study](chosen) if job.wants(trial.name)]
        if variants:
            say(f"study of {base}: {study}")
            for trial in [replace(chosen, name=f"{base} tuned"), *variants]:
                yield row(trial, None, study_seeds, study)


def pairs_of(done: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Which rows are compared, a - b.

    In the table every MIND with every other row (of two MINDs the later entry with the earlier),
    and what the paper's claims need besides; in a study a later row with an earlier one, but in
    the ablation only with the setting that it starts from.
    """
    pairs: list[tuple[Row, Row]] = []
    for study in dict.fromkeys(row.study for row in done):
        group = [row for row in done if row.study == study and row.values]
        if study is not None:
            every = itertools.combinations(group, 2)
            pairs += [(b, a) for a, b in every if study != "ablation" or a is group[0]]
            continue
        by_name = {row.facts["name"]: row for row in group}
        names = [name for name in search_space() if name in by_name]
        minds = [name for name in names if name.startswith("MIND")]
        for a, b in itertools.permutations(names, 2):
            ours = a in minds and (b not in minds or names.index(a) > names.index(b))
            if ours or (a, b) in PAIRS:
                pairs.append((by_name[a], by_name[b]))
    return pairs


def comparisons(
    done: Sequence[Row],
    touched: Int[Tensor, " cases"] | None,
    known: dict[tuple[str | None, str, str], dict[str, Any]],
) -> list[dict[str, Any]]:
    """The paired tests of `pairs_of`; in the table also by how many categories pasts touch.

    Args:
        known: those that were made before; added to.
    """
    for a, b in pairs_of(done):
        key = (a.study, a.facts["name"], b.facts["name"])
        if key not in known and a.values and b.values:
            said = paired(a.values, b.values, touched if a.study is None else None)
            known[key] = {"study": a.study, "a": key[1], "b": key[2]} | said
    return list(known.values())


def with_relative_seconds(done: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as recorded, each with its seconds over those of `CLOCK`, if that is there."""
    clock = [row.facts["seconds"] for row in done if row.facts["name"] == CLOCK and row.values]
    return [
        {"study": row.study}
        | row.facts
        | {"relative_seconds": row.facts["seconds"] / clock[0] if clock and row.values else None}
        for row in done
    ]


def places_in(path: Path) -> dict[str, int]:
    """For each row of a result which of its candidates was chosen there."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {row["name"]: row["tuned"]["chosen"] for row in rows if row.get("tuned")}


def told(run: TrialRun) -> str:
    """What one line says of a run."""
    values = ", ".join(
        f"{part} {METRIC} {100 * evaluation.means()[METRIC]:.2f}"
        for part, evaluation in run.evaluations.items()
    )
    epoch = f"epoch {run.fit.best_epoch}, " if run.fit else ""
    return f"{values} ({epoch}{run.seconds:.0f} s)"


def say(line: str) -> None:
    """Print at once."""
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", flush=True)


def command(arguments: Sequence[str]) -> str:
    """What was typed, with the names alone of folders that are elsewhere on another machine."""
    short = [re.sub(r"(^|=)/[^=]*?([^/=]+)/?$", r"\1\2", argument) for argument in arguments]
    return shlex.join(["python", "benchmarks/experiments.py", *short])


def machine() -> dict[str, Any]:
    """What the seconds belong to."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "numpy", "implicit", "mindlib")},
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """JSON with a line for each fact, row and comparison; whole or not at all."""

    def dumped(value: Any) -> str:
        if isinstance(value, list) and value:
            return "[\n" + ",\n".join(f"  {json.dumps(x, allow_nan=False)}" for x in value) + "\n ]"
        return json.dumps(value, allow_nan=False)

    facts = rounded(content).items()
    lines = ",\n".join(f" {json.dumps(name)}: {dumped(value)}" for name, value in facts)
    part = path.with_name(f".{path.name}.part")
    part.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    os.replace(part, path)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    names = list(search_space())
    parser = argparse.ArgumentParser(
        prog="experiments.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--data", help=f"NAME=PATH, NAME one of {', '.join(DATA)}")
    parser.add_argument("--protocol", choices=tuple(SPLITS), default="held-out-users")
    parser.add_argument(
        "--models", help="rows in their order (all; none: no row); a:3 has three seeds"
    )
    parser.add_argument("--studies", default="none", help=f"of {', '.join(STUDIES)} (none)")
    parser.add_argument("--base", default="MIND-4", help="whose setting is studied (MIND-4)")
    parser.add_argument("--only", default="", help="of all rows, those of studies too, only these")
    parser.add_argument("--seeds", type=int, default=5, help="of each row (5)")
    parser.add_argument("--study-seeds", type=int, default=2, help="of each row of a study (2)")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="of rows that this result has, its settings"
    )
    parser.add_argument("--epochs", type=int, default=TRAINING.epochs, help="(%(default)s)")
    parser.add_argument("--dim", type=int, default=64, help="d (64)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (1)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cache", type=Path, help="the folder of runs")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    parser.add_argument("--trust-code", action="store_true", help="take runs of other code")
    parser.add_argument(
        "--quick", action="store_true", help="a planted world: does it work at all?"
    )
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join([*names, *(f"study: {study}" for study in STUDIES)]))
        parser.exit()
    if given.quick:
        given.data, given.epochs, given.dim = "planted", 1, 8
        given.seeds = given.study_seeds = 2
        given.cache = given.cache or BUILD / "experiments-quick"
        given.out = given.out or BUILD / "experiments-quick.json"
        BUILD.mkdir(parents=True, exist_ok=True)
    for option in ("data", "cache", "out"):
        if not getattr(given, option):
            parser.error(f"--{option} is missing (or --quick)")

    def chosen(option: str, text: str, known: Sequence[str]) -> list[str]:
        by_slug = {slug(name): name for name in known}
        wanted = [] if text == "none" else [slug(word) for word in text.split(",")]
        for word in wanted:
            if word not in by_slug:
                parser.error(f"--{option}: no {word!r}; there is {', '.join(by_slug)}")
        return [by_slug[word] for word in wanted]

    given.seeds_of = {}
    if given.models is None:
        given.models = names
    else:
        words = [word.partition(":") for word in given.models.split(",")]
        given.models = chosen("models", ",".join(word for word, _, _ in words), names)
        for name, (word, _, number) in zip(given.models, words, strict=False):
            if number and not (number.isdecimal() and int(number) >= 1):
                parser.error(f"--models {word}:{number}: expected a number of seeds >= 1")
            if number:
                given.seeds_of[name] = int(number)
    given.studies = chosen("studies", given.studies, list(STUDIES))
    minds = [name for name in names if name.startswith("MIND")]
    (given.base,) = chosen("base", given.base, minds)[:1] or [""]
    if not given.base:
        parser.error(f"--base: expected one of {', '.join(map(slug, minds))}")
    given.only = frozenset(slug(word) for word in given.only.split(",") if word)
    for option in ("seeds", "study_seeds", "epochs", "dim", "threads"):
        if getattr(given, option) < 1:
            parser.error(f"--{option.replace('_', '-')} {getattr(given, option)}: expected >= 1")
    given.data, _, given.path = given.data.partition("=")
    if given.data not in DATA:
        parser.error(f"--data {given.data}: no such data; there is {', '.join(DATA)}")
    if given.data in WITHOUT_PATH:
        given.path = given.data
    elif not Path(given.path or "?").expanduser().exists():
        parser.error(f"--data {given.data}=PATH: there is no {given.path or 'PATH given'}")
    if not given.out.expanduser().resolve().parent.is_dir():
        parser.error(f"--out {given.out}: there is no folder {given.out.parent}")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the rows; write the results after each."""
    given = parse(arguments)
    torch.set_num_threads(given.threads)
    code = code_digest()  # before anything can change
    started = time.monotonic()
    data = DATA[given.data]
    log = data.read(given.path)
    split = SPLITS[given.protocol](log, SPLIT_SEED)
    cutoffs = tuple(n for n in CUTOFFS if n <= log.num_items)
    job = Job(
        split=split,
        training=replace(TRAINING, epochs=given.epochs, patience=given.epochs, monitor=METRIC),
        shape={"dim": given.dim},
        categories=data.categories,
        cutoffs=cutoffs,
        cache=given.cache,
        trust_code=given.trust_code,
        device=given.device,
        only=given.only,
        places=places_in(given.settings) if given.settings else {},
    )
    touched = (
        history_categories(split.test.histories, item_categories(split, job.categories))
        if job.categories
        else None
    )
    head = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(sys.argv[1:] if arguments is None else arguments),
        "machine": machine(),
        "code": code,
        "data": {
            "name": given.data,
            **log.describe(),
            "protocol": split.name,
            "split_seed": SPLIT_SEED,
            "validation_cases": len(split.validation),
            "test_cases": len(split.test),
            "categories": data.categories,
        },
        "settings": {
            "budget": BUDGET,
            "chosen_on": f"validation {METRIC}, seed 0",
            "seeds": given.seeds,
            "study_seeds": given.study_seeds,
            "base": given.base,
            "settings_of": given.settings.name if given.settings else None,
            "dim": given.dim,
            "training": plain(job.training),
        },
    }
    say(f"{log.name}, {split.name}: {len(split.train):,} training pairs, "
        f"{len(split.validation):,} and {len(split.test):,} cases, code {code[:12]}")  # fmt: skip
    done: list[Row] = []
    known: dict[tuple[str | None, str, str], dict[str, Any]] = {}
    for row in rows(
        job,
        touched,
        given.models,
        given.studies,
        given.base,
        seeds=given.seeds,
        seeds_of=given.seeds_of,
        study_seeds=given.study_seeds,
    ):
        done.append(row)
        if row.values:
            test = row.facts["test"][METRIC]
            spread = "" if test["deviation"] is None else f" ± {100 * test['deviation']:.2f}"
            say(f"{row.facts['name']}: test {METRIC} {100 * test['mean']:.2f}{spread}")
        write(
            given.out.expanduser(),
            head
            | {
                "minutes": (time.monotonic() - started) / 60,
                "rows": with_relative_seconds(done),
                "comparisons": comparisons(done, touched, known),
            },
        )
    say(f"{given.out}: {len(done)} rows")
    if lost := given.only - {slug(row.facts["name"]) for row in done}:
        sys.exit(f"--only: no row {', '.join(sorted(lost))} among those of --models and --studies")


if __name__ == "__main__":
    main()
