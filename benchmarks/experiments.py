"""The recorded tables of section 4: every model, equally tuned, on one data set and one protocol.

    python benchmarks/experiments.py --data amazon-beauty=PATH --protocol held-out-users \\
        --cache DIR --out FILE.json [--models a,b:3] [--studies a,b [--base a]] [--only a,b]
        [--known-users] [--next-item] [--merges]

Each model has as many candidates as every other, and the validation cases choose (with seed 0).
The chosen candidate is trained with `--seeds` seeds (a row written as `b:3` with three) and
evaluated on the test cases. A study changes one factor of the chosen candidate of `--base`. Names
are written as in the table or in small letters with hyphens; `--list` prints them.

Runs are kept in the cache: the same command resumes where it was interrupted, to the epoch. The
results are written after each row. Two commands may share a cache. The values of single users stay
in the cache.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import platform
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mindlib.data import SPLITS, Cases, Interactions, PlantedConfig, Split, load, planted_interests
from mindlib.data.cases import build_cases
from mindlib.data.storage import atomic_file
from mindlib.evaluation import compare_seeds, history_categories, trend
from mindlib.experiments.cache import code_version, describe_config
from mindlib.experiments.claims import CLAIMS
from mindlib.experiments.execution import trained_model
from mindlib.experiments.merges import Hits, count_hits
from mindlib.experiments.search_space import (
    BUDGET,
    LOWEST_RATE,
    STUDIES,
    TRAINING,
    search_space,
)
from mindlib.experiments.tables import Values, stack_seeds, summarize
from mindlib.experiments.trial import Trial, TrialRun
from mindlib.experiments.tuning import Tuning, run_seeds, tune_settings
from mindlib.models.vector_model import VectorModel

BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"
METRIC = "Recall@50"
# Test cases are divided into this many groups of about equal size, or by value if there are fewer
# values, in this metric.
GROUPS, GROUP_METRIC = 5, "HitRate@50"
CUTOFFS = (10, 50, 100, 500, 1000)
SPLIT_SEED = 0


class Data(NamedTuple):
    """A data set.

    Attributes:
        read: reads the log from a path.
        categories: the item field by which lists and histories are counted; None if there is none.
        world: of a planted log, for which the number of a user's interests is known.
    """

    read: Callable[[str], Interactions]
    categories: str | None
    world: PlantedConfig | None = None


def planted(config: PlantedConfig) -> Data:
    """Describe the log of a planted world as a data set."""
    return Data(lambda _: planted_interests(config).log, "department", config)


class Grouping(NamedTuple):
    """By what cases are grouped.

    Attributes:
        values: of each case.
        strata: the trend with the values is that among cases of one stratum.
    """

    values: Int[Tensor, " cases"]
    strata: Int[Tensor, " cases"]


# Many small clusters: the 50 items of a list are more than one cluster has, fewer than four have.
CROWDED = PlantedConfig(num_clusters=60, items_per_cluster=20, events=(16, 40))
DATA = {
    "amazon-beauty": Data(load, "category"),
    "amazon-cds": Data(load, None),
    "complete-journey": Data(lambda _: load("complete-journey"), "department"),
    "movielens-1m": Data(lambda _: load("movielens-1m"), "genre"),
    "movielens-1m-positive": Data(load, "genre"),
    "taobao-favourites": Data(lambda path: load(path).k_core(3), "category"),
    "planted": planted(PlantedConfig(num_users=300, num_clusters=8, items_per_cluster=20)),
    "planted-crowded": planted(CROWDED),
    "planted-crowded-no-noise": planted(replace(CROWDED, noise=0.0)),
}
WITHOUT_PATH = ("complete-journey", "movielens-1m", *(name for name in DATA if "planted" in name))


class Row(NamedTuple):
    """A finished row.

    Attributes:
        study: the study to which it belongs; None for the main table.
        facts: as recorded.
        values: of each seed and test case; None if the training diverged.
    """

    study: str | None
    facts: dict[str, Any]
    values: Values | None


def recorded_settings(
    space: Mapping[str, Sequence[Trial]], results: Mapping[str, Any]
) -> dict[str, Trial]:
    """Return the trial of each row that has one candidate or a choice in recorded results.

    Args:
        space: the candidates of each row, as `search_space` returns them.

    Raises:
        ValueError: a recorded choice is not among the candidates.
    """
    rows = {row["name"]: row for row in results["rows"] if row.get("tuned")}
    found = {}
    for name, candidates in space.items():
        if len(candidates) == 1:
            found[name] = candidates[0]
        elif row := rows.get(name):
            facts = row["tuned"]["candidates"][row["tuned"]["chosen"]]
            chosen = {field: value for field, value in facts.items() if field != "value"}
            same = [trial for trial in candidates if chosen.items() <= settings_of(trial).items()]
            if len(same) != 1:
                raise ValueError(
                    f"{name}: {chosen} is not among the candidates; change --lowest-rate"
                )
            (found[name],) = same
    return found


def settings_of(trial: Trial) -> dict[str, Any]:
    """Return the fields of a trial's configuration and training by their dotted names."""
    return {
        f"{part}.{name}": value
        for part in ("config", "training")
        for name, value in describe_config(getattr(trial, part)).items()
    }


def result_row(runs: Sequence[TrialRun], tuning: Tuning | None) -> dict[str, Any]:
    """Describe a row of the results: one trial with its seeds, and how it was chosen."""
    trial = runs[0].trial
    row: dict[str, Any] = {
        "name": trial.name,
        "model": describe_config(trial.model),
        "config": describe_config(trial.config),
        "training": describe_config(trial.training) if trial.is_trained else None,
        "tuned": tuning_facts(tuning) if tuning and tuning.values else None,
        "seeds": [run.trial.seed for run in runs],
        "seconds": statistics.fmean(run.seconds for run in runs),
        "best_epochs": [run.fit.best_epoch for run in runs if run.fit],
        "curves": [[e[trial.training.monitor] for e in run.fit.log] for run in runs if run.fit],
        "commits": sorted({commit for run in runs for commit in run.commits}),
    }
    return row | {part: summarize(runs, part) for part in runs[0].evaluations}


def tuning_facts(tuning: Tuning) -> dict[str, Any]:
    """Describe the fields in which the candidates differ, and the value of each candidate."""
    settings = [settings_of(trial) for trial in tuning.candidates]
    differing = [n for n in settings[0] if len({repr(setting[n]) for setting in settings}) > 1]
    return {
        "on": f"validation {tuning.metric}",
        "candidates": [
            {name: setting[name] for name in differing} | {"value": value}
            for setting, value in zip(settings, tuning.values, strict=True)
        ],
        "chosen": tuning.candidates.index(tuning.best),
    }


def make_rows(
    given: argparse.Namespace, split: Split, space: Mapping[str, list[Trial]], **options: Any
) -> Iterator[Row]:
    """Yield the table's rows in the order of `--models`, then those of the studies.

    Args:
        options: passed to `run_trial`.
    """
    recorded = {}
    if given.settings:
        recorded = recorded_settings(space, json.loads(given.settings.read_text("utf-8")))

    @functools.cache
    def tuning_of(name: str) -> Tuning:
        candidates, trial = space[name], recorded.get(name)
        if trial and not given.rates:
            return Tuning(trial, tuple(candidates))
        if trial and trial.is_trained:
            rates = [replace(trial.training, learning_rate=rate) for rate in given.rates]
            candidates = [replace(trial, training=training) for training in rates]
        budget = len(candidates) if trial else BUDGET
        return tune_settings(
            split, candidates, metric=METRIC, budget=budget, report=print_run, **options
        )

    def row(
        trial: Trial, seeds: int, tuning: Tuning | None = None, study: str | None = None
    ) -> Row:
        try:
            runs = run_seeds(split, [trial], seeds=seeds, report=print_run, **options)
        except FloatingPointError as error:
            print_line(f"  {trial.name}: {error}")
            return Row(study, {"name": trial.name, "failed": str(error)}, None)
        facts = result_row(runs, tuning)
        if given.merges and trial.is_trained:
            facts["merges"] = merges(split, runs, given.cache)
        return Row(study, facts, stack_seeds(runs))

    def is_wanted(name: str) -> bool:
        return not given.only or slug(name) in given.only

    for name in filter(is_wanted, given.models):
        print_line(name)
        tuning = tuning_of(name)
        yield row(tuning.best, given.seeds_of.get(name, given.seeds), tuning)
    for study in given.studies:
        base = tuning_of(given.base).best
        if variants := [trial for trial in STUDIES[study](base) if is_wanted(trial.name)]:
            print_line(f"study of {given.base}: {study}")
            for trial in [replace(base, name=f"{base.name} tuned"), *variants]:
                yield row(trial, given.study_seeds, study=study)


def merges(split: Split, runs: Sequence[TrialRun], cache: Path) -> dict[str, Any]:
    """Compare ways to merge the interests' lists of 50 items with that of serving (Eq. 3)."""
    models = (trained_model(split, run.trial, cache) for run in runs)
    hits = [count_hits(model, split.test, 50) for model in models if isinstance(model, VectorModel)]
    all_seeds = Hits(*(torch.stack(way) for way in zip(*hits, strict=True)))
    served = all_seeds.served
    others = {"in_turn": all_seeds.in_turn, "standardized": all_seeds.standardized}
    return (
        {"served": {"HitRate@50": float(served.mean())}}
        | {
            way: {"HitRate@50": float(found.mean())}
            # One model gives both, so that the seeds of their difference count, not those of each.
            | asdict(compare_seeds(found - served, torch.zeros_like(served[:1])))
            for way, found in (others | {"oracle": all_seeds.oracle}).items()
        }
    )


def tuned_users(given: argparse.Namespace, log: Interactions) -> Int[Tensor, " users"]:
    """Return the users whose interactions chose the settings that `--settings` takes over.

    These are the validation users of another protocol on the same data; other data, and the same
    protocol, have no such users.
    """
    if given.settings:
        data = json.loads(given.settings.read_text("utf-8"))["data"]
        for name, build in SPLITS.items():
            other = build(log, SPLIT_SEED) if name != given.protocol else None
            if other and given.data == data["name"] and data["protocol"].startswith(other.name):
                return other.validation.histories.users
    return torch.zeros(0, dtype=torch.int64)


def without_users(cases: Cases, users: Int[Tensor, " users"]) -> Cases:
    """Leave out the cases of some users."""
    keep = ~torch.isin(cases.histories.users, users)
    sizes = cases.offsets.diff()
    return replace(
        cases,
        histories=cases.histories.select(keep.nonzero().squeeze(1)),
        targets=cases.targets[keep.repeat_interleave(sizes)],
        offsets=torch.cat([cases.offsets[:1], sizes[keep].cumsum(0)]),
    )


def with_known_users(split: Split) -> Split:
    """Let training use the test users' events before their targets."""
    histories = split.test.histories
    changes = np.zeros(len(split.log) + 1, dtype=np.int8)  # 1 where histories begin, -1 after them
    changes[histories.starts.numpy()] = 1
    changes[histories.ends.numpy()] = -1
    train_events = split.train_events | (changes.cumsum(dtype=np.int8)[:-1] == 1)
    return replace(split, name=f"{split.name}, known users", train_events=train_events)


def with_next_items(split: Split) -> Split:
    """Keep the test targets of the first step after each history only."""
    histories, steps = split.test.histories, split.log.step_starts(np.arange(len(split.log)))
    starts = histories.ends.numpy()
    ends = np.searchsorted(steps, starts, side="right")
    test = build_cases(split.log, histories.users.numpy(), starts, ends)
    return replace(split, name=f"{split.name}, next item", test=test)


def pairs_of(done: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return the pairs of rows to compare, a - b.

    In the table these are every MIND with every other row (of two MINDs the later with the earlier)
    and the pairs of the paper's claims; in a study a later row with an earlier one, but in the
    ablation only with the tuned base.
    """
    claims = {(claim.a, claim.b) for claim in CLAIMS if claim.study is None}
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
            if ours or (a, b) in claims:
                pairs.append((by_name[a], by_name[b]))
    return pairs


def groupings(split: Split, data: Data) -> dict[str, Grouping]:
    """Return by what the test cases are grouped, by name."""
    histories, lengths = split.test.histories, split.test.histories.lengths
    whole = torch.zeros_like(lengths)  # all cases are one stratum
    counts = torch.from_numpy(split.train_counts)[split.test.targets]
    most = whole.scatter_reduce(0, split.test.rows, counts, "amax")
    found = {
        "length of the history": Grouping(lengths, whole),
        "training events of the target": Grouping(most, whole),
    }
    if data.categories:
        categories = torch.from_numpy(split.log.item_categories(data.categories))
        breadth = history_categories(histories, categories)
        found["categories of the history"] = Grouping(breadth, lengths.clamp(max=50))
        found["category of the target"] = Grouping(target_category(split.test, categories), whole)
    if data.world:
        interests = torch.from_numpy(planted_interests(data.world).interests.sum(1))
        found["interests of the user"] = Grouping(interests[histories.users], whole)
    return found


def target_category(
    cases: Cases, categories: Int[Tensor, " items_plus_one"]
) -> Int[Tensor, " cases"]:
    """Return how frequent the category of the target is in the history of each case.

    2: more frequent than any other; 1: tied or rarer; 0: in no behavior, or unknown. Of several
    targets the one with the largest number counts.
    """
    rows, items = cases.histories.pairs()
    counts = torch.zeros((len(cases), int(categories.max()) + 1), dtype=torch.int32)
    one = torch.ones(len(rows), dtype=torch.int32)
    counts.index_put_((rows, categories[items]), one, accumulate=True)
    counts[:, 0] = 0
    first, second = counts.topk(2).values.T
    own = counts[cases.rows, categories[cases.targets]]
    is_most = (own == first[cases.rows]) & (own > second[cases.rows])
    places = (own > 0).long() + is_most.long()
    return torch.zeros(len(cases), dtype=torch.int64).scatter_reduce(0, cases.rows, places, "amax")


def compare_values(
    a: Values, b: Values, by: Mapping[str, Grouping] | None = None
) -> dict[str, Any]:
    """Compare a - b over all cases in every metric, and in one metric within groups."""

    def difference(metric: str, cases: Tensor | slice) -> dict[str, Any]:
        facts = asdict(compare_seeds(a[metric][:, cases], b[metric][:, cases]))
        return {"metric": metric, "difference": facts.pop("value"), **facts}

    metrics = [name for name in a if not name.startswith("Categories@")]
    found: dict[str, Any] = {"all": [difference(name, slice(None)) for name in metrics]}
    if by is None or GROUP_METRIC not in a:
        return found
    gain = (a[GROUP_METRIC].mean(0) - b[GROUP_METRIC].mean(0)).numpy()
    found["groups"] = {}
    for name, (values, strata) in by.items():
        try:
            slope = trend(gain, (1 + values).log2().numpy(), strata.numpy())
        except ValueError:  # all users are alike
            continue
        levels = values.unique()
        if len(levels) > GROUPS:
            shares = torch.linspace(0, 1, GROUPS + 1, dtype=torch.float64)[1:-1]
            levels = values.double().quantile(shares).unique()
        number = torch.bucketize(values, levels, right=True)
        found["groups"][name] = {
            "per_doubling": asdict(slope),
            "groups": [
                {"least": int(values[inside].min()), "most": int(values[inside].max()),
                 "cases": int(inside.sum()), **difference(GROUP_METRIC, inside)}
                for inside in (number == n for n in number.unique())
                if inside.sum() > 1
            ],
        }  # fmt: skip
    return found


def add_comparisons(
    known: dict[tuple[str | None, str, str], dict[str, Any]],
    done: Sequence[Row],
    by: Mapping[str, Grouping],
) -> list[dict[str, Any]]:
    """Add the missing comparisons of `pairs_of`, those with MIND-1 by groups, and return all."""
    for a, b in pairs_of(done):
        key = (a.study, a.facts["name"], b.facts["name"])
        if key not in known and a.values and b.values:
            found = compare_values(a.values, b.values, by if key[2] == "MIND-1" else None)
            known[key] = {"study": a.study, "a": key[1], "b": key[2]} | found
    return list(known.values())


def slug(name: str) -> str:
    """Convert a name to small letters with hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def print_run(run: TrialRun) -> None:
    """Print one line about a run."""
    values = ", ".join(
        f"{part} {METRIC} {100 * evaluation.means()[METRIC]:.2f}"
        for part, evaluation in run.evaluations.items()
    )
    epoch = f"epoch {run.fit.best_epoch}, " if run.fit else ""
    print_line(f"  {run.model}, seed {run.trial.seed}: {values} ({epoch}{run.seconds:.0f} s)")


def print_line(line: str) -> None:
    """Print a line with the time, unbuffered."""
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", flush=True)


def command(arguments: Sequence[str]) -> str:
    """Return the command line, with absolute paths reduced to their last part."""
    short = [re.sub(r"(^|=)/[^=]*?([^/=]+)/?$", r"\1\2", argument) for argument in arguments]
    return shlex.join(["python", "benchmarks/experiments.py", *short])


def machine() -> dict[str, Any]:
    """Describe the machine on which the seconds were measured."""
    info = Path("/proc/cpuinfo")
    name = re.search(r"^model name\s*: (.+)$", info.read_text(), re.M) if info.is_file() else None
    return {
        "cpu": name[1] if name else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "numpy", "implicit", "mindlib")},
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with a line for each fact, row and comparison; NaN becomes null."""

    def dumped(value: Any) -> str:
        if isinstance(value, list) and value:
            return "[\n" + ",\n".join(f"  {json.dumps(x, allow_nan=False)}" for x in value) + "\n ]"
        return json.dumps(value, allow_nan=False)

    rounded = json.loads(
        json.dumps(content),
        parse_float=lambda number: float(f"{float(number):.6g}"),
        parse_constant=lambda _: None,
    )
    lines = ",\n".join(f" {json.dumps(name)}: {dumped(x)}" for name, x in rounded.items())
    with atomic_file(path) as partial:
        partial.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse and check the command line."""
    names = list(search_space())
    parser = argparse.ArgumentParser(
        prog="experiments.py", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--list", action="store_true", help="print the names and stop")
    add("--data", help=f"NAME=PATH, NAME one of {', '.join(DATA)}")
    add("--protocol", choices=tuple(SPLITS), default="held-out-users")
    add("--known-users", action="store_true", help="train on the test users' histories, too")
    add("--next-item", action="store_true", help="targets: the timestamp after a history only")
    add("--merges", action="store_true", help="compare ways to merge the lists of the interests")
    add("--models", default="all", help="rows in this order (all; none); a:3 has three seeds")
    add("--studies", default="none", help=f"some of {', '.join(STUDIES)} (none)")
    add("--base", default="MIND-4", help="the row that is studied (%(default)s)")
    add("--only", default="", help="make only these rows, of the table and of studies")
    add("--seeds", type=int, default=5, help="of each row (%(default)s)")
    add("--study-seeds", type=int, default=2, help="of each row of a study (%(default)s)")
    add("--settings", type=Path, metavar="FILE", help="take the choices of this result")
    add("--lowest-rate", type=float, default=LOWEST_RATE, help="of the grid (%(default)s)")
    add("--rates", default="", help="with --settings: choose only these learning rates anew")
    add("--epochs", type=int, default=TRAINING.epochs, help="(%(default)s)")
    add("--pairs-per-user", type=int, default=0, help="in an epoch, at most (0: all)")
    add("--ids-only", action="store_true", help="without the fields and titles of the items")
    add("--dim", type=int, default=64, help="d (%(default)s)")
    add("--threads", type=int, default=1, help="of torch (%(default)s)")
    add("--device", default="auto")
    add("--cache", type=Path, help="the folder of cached runs")
    add("--out", type=Path, help="the JSON file to write")
    add("--quick", action="store_true", help="a small planted world, to test the command")
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

    def choose(option: str, text: str, known: Sequence[str]) -> dict[str, int | None]:
        """Return the names in a list of words, each with the number behind its colon."""
        by_slug, found = {slug(name): name for name in known}, {}
        for word in [] if text == "none" else by_slug if text == "all" else text.split(","):
            name, _, number = word.partition(":")
            if slug(name) not in by_slug:
                parser.error(f"--{option}: no {name!r}; there is {', '.join(by_slug)}")
            if number and not (number.isdecimal() and int(number) >= 1):
                parser.error(f"--{option} {word}: expected a number of seeds >= 1")
            found[by_slug[slug(name)]] = int(number) if number else None
        return found

    models = choose("models", given.models, names)
    given.models, given.seeds_of = list(models), {name: n for name, n in models.items() if n}
    given.studies = list(choose("studies", given.studies, list(STUDIES)))
    minds = [name for name in names if name.startswith("MIND")]
    (given.base,) = choose("base", given.base, minds)
    given.only = frozenset(slug(word) for word in given.only.split(",") if word)
    for option in ("seeds", "study_seeds", "epochs", "dim", "threads"):
        if getattr(given, option) < 1:
            parser.error(f"--{option.replace('_', '-')} {getattr(given, option)}: expected >= 1")
    try:
        given.rates = [float(rate) for rate in given.rates.split(",") if rate]
    except ValueError:
        parser.error(f"--rates {given.rates}: expected numbers, separated by commas")
    if (given.known_users or given.next_item) and given.protocol != "held-out-users":
        parser.error("--known-users, --next-item: expected with --protocol held-out-users only")
    if given.rates and not given.settings:
        parser.error("--rates: expected with --settings only")
    if not 0 < given.lowest_rate < 1:
        parser.error(f"--lowest-rate {given.lowest_rate}: expected more than 0 and less than 1")
    given.data, _, given.path = given.data.partition("=")
    if given.data not in DATA:
        parser.error(f"--data {given.data}: no such data; there is {', '.join(DATA)}")
    if given.data not in WITHOUT_PATH and not Path(given.path or "?").expanduser().exists():
        parser.error(f"--data {given.data}=PATH: there is no {given.path or 'PATH given'}")
    if not given.out.expanduser().resolve().parent.is_dir():
        parser.error(f"--out {given.out}: there is no folder {given.out.parent}")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the rows; write the results after each."""
    given = parse(arguments)
    torch.set_num_threads(given.threads)
    started = time.monotonic()
    data = DATA[given.data]
    log = data.read(given.path)
    if given.ids_only:
        log, data = replace(log, item_features=None, titles=None), data._replace(categories=None)
    split = SPLITS[given.protocol](log, SPLIT_SEED)
    chosen_on, cases = tuned_users(given, log), len(split.test)
    split = replace(split, test=without_users(split.test, chosen_on))
    if given.known_users:
        split = with_known_users(split)
    if given.next_item:
        split = with_next_items(split)
    training = replace(
        TRAINING,
        epochs=given.epochs,
        pairs_per_user=given.pairs_per_user,
        patience=given.epochs,
        monitor=METRIC,
    )
    by = groupings(split, data)
    head = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(sys.argv[1:] if arguments is None else arguments),
        "machine": machine(),
        "commit": code_version(),
        "data": {
            "name": given.data,
            **log.describe(),
            "protocol": split.name,
            "split_seed": SPLIT_SEED,
            "validation_cases": len(split.validation),
            "test_cases": len(split.test),
            "excluded_test_cases": cases - len(split.test),
            "categories": data.categories,
        },
        "settings": {
            "budget": len(given.rates) or BUDGET,
            "chosen_on": f"validation {METRIC}, seed 0",
            "seeds": given.seeds,
            "study_seeds": given.study_seeds,
            "base": given.base,
            "settings_of": given.settings.name if given.settings else None,
            "ids_only": given.ids_only,
            "dim": given.dim,
            "training": describe_config(training),
        },
    }
    print_line(f"{log.name}, {split.name}: {len(split.train):,} training pairs, "
               f"{len(split.validation):,} and {len(split.test):,} cases")  # fmt: skip
    done: list[Row] = []
    known: dict[tuple[str | None, str, str], dict[str, Any]] = {}
    for row in make_rows(
        given,
        split,
        search_space(training, {"dim": given.dim}, given.lowest_rate),
        cutoffs=tuple(n for n in CUTOFFS if n <= log.num_items),
        cache=given.cache,
        categories=data.categories,
        device=given.device,
        progress=sys.stderr.isatty(),
    ):
        done.append(row)
        content = {
            "minutes": (time.monotonic() - started) / 60,
            "rows": [{"study": row.study} | row.facts for row in done],
            "comparisons": add_comparisons(known, done, by),
        }
        write(given.out.expanduser(), head | content)
    print_line(f"{given.out}: {len(done)} rows")
    if lost := given.only - {slug(row.facts["name"]) for row in done}:
        sys.exit(f"--only: no row {', '.join(sorted(lost))} among those of --models and --studies")


if __name__ == "__main__":
    main()
