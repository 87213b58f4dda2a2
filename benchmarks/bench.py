"""How fast mindlib is beside torch-rechub (training) and implicit (recommending), in ratios.

    python benchmarks/bench.py [--rounds N] [--seconds S] [--quick]

README.md beside this file says what is measured, how to read it, and where the FLOP counts come
from. Every measurement is a process of its own, started by the one that prints the table:
torch-rechub's is peer_torch_rechub.py, the others are the functions under JOBS, called by name.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mindlib.data import Interactions, Split

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"
PEER_VENV = BUILD / "peer-venv"
PEER = "torch-rechub"
PEER_VERSION = "0.9.0"

# The peer has DIM and INTERESTS, and r = 3 is built into it.
LENGTH, DIM, INTERESTS, ITERATIONS, BATCH, NEGATIVES = 20, 64, 4, 3, 128, 1280
BEAUTY, BOOKS, FEW, MANY = 12_101, 368_000, 10_000, 1_000_000
DEFAULT_BATCH, DEFAULT_NEGATIVES = 1024, 2048  # of TrainingConfig
LARGER_BATCHES = (512, 1024, 2048, 4096)
TOP = 100
SEED = 0

# glibc keeps what is freed. mindlib does this for itself (`keep_freed_memory`).
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}
ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1"}


class BenchError(Exception):
    """Something outside this program is missing or failed; the message says what to do."""


# The work of a step


def flops_per_sample(
    length: int = LENGTH,
    dim: int = DIM,
    interests: int = INTERESTS,
    iterations: int = ITERATIONS,
    negatives: int = NEGATIVES,
) -> dict[str, int]:
    """Floating-point operations of a training step's products, for one sample; see README.md.

    A product of (m, k) with (k, n) counts 2mkn. What works element by element is not counted.
    """
    weighted_sum = 2 * interests * length * dim  # w e, u'e: all interests with all behaviours
    dense = 2 * interests * dim * dim  # S u, S'u, the head: a square matrix on all interests
    return {
        "routing, all rounds but the last": (iterations - 1) * (2 * weighted_sum + 2 * dense),
        "routing, last round, forward": weighted_sum + dense,
        "routing, last round, backward": weighted_sum + 2 * dense,
        "head, forward and backward": 3 * dense,
        "label-aware attention": 12 * interests * dim,
        "softmax logits, forward and backward": 3 * 2 * (1 + negatives) * dim,
    }


# Data


def write_data(path: Path, num_items: int, samples: int) -> Path:
    """Histories and targets, drawn evenly from the catalogue.

    Even draws meet the most distinct items, which costs mindlib's step most (it updates the rows
    it meets) and the peer's nothing (it updates all rows anyway).
    """
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(1, num_items + 1, (samples, LENGTH + 1))
    np.savez(path, history=drawn[:, :-1], target=drawn[:, -1], num_items=num_items)
    return path


def read_data(path: str, samples: int | None = None) -> dict[str, Any]:
    """What `write_data` wrote: the first samples, or all."""
    whole = np.load(path)
    return {
        "history": whole["history"][:samples],
        "target": whole["target"][:samples],
        "num_items": int(whole["num_items"]),
    }


def as_log(history: np.ndarray, target: np.ndarray, num_items: int) -> Interactions:
    """Turn the samples into a log: each is a user with a history and then the target."""
    from mindlib.data import Interactions

    samples = len(target)
    return Interactions(
        users=np.repeat(np.arange(1, samples + 1), LENGTH + 1),
        items=np.column_stack([history, target]).ravel(),
        timestamps=np.tile(np.arange(LENGTH + 1), samples),
        user_ids=np.arange(samples + 1),
        item_ids=np.arange(num_items + 1),
        name="bench",
    )


def training_split(log: Interactions, cases: int) -> Split:
    """The last event of each of the first users is a training case; one case is held out."""
    from mindlib.data import Split, leave_last_out

    last = np.zeros(len(log), dtype=bool)
    last[LENGTH : cases * (LENGTH + 1) : LENGTH + 1] = True
    one = leave_last_out(log).test[:1]  # `fit` wants something to validate on, untimed
    return Split("bench", log, last, one, one)


# Jobs: each runs in a process of its own


def train(data: str, batch: int, hidden: list[int], seconds: float) -> dict[str, float]:
    """Samples a second of MIND through `fit`, then the speed of a matrix product here."""
    import torch

    import mindlib
    from mindlib.layers.routing import RoutingConfig

    log = as_log(**read_data(data))
    config = mindlib.MINDConfig.paper(
        dim=DIM,
        hidden=tuple(hidden),
        history_length=LENGTH,
        routing=RoutingConfig.paper(max_interests=INTERESTS, iterations=ITERATIONS),
    )
    model = mindlib.MIND(log, config, generator=torch.Generator().manual_seed(SEED))
    training = mindlib.TrainingConfig.paper(epochs=1, batch_size=batch, negatives=NEGATIVES)

    def rate(cases: int) -> float:
        done = mindlib.fit(model, training_split(log, cases), training, device="cpu")
        return done.log[-1].samples_per_second

    warm = min(log.num_users, max(4 * batch, 40 * BATCH))
    rate(warm)
    cases = min(log.num_users, max(warm, int(rate(warm) * seconds)))
    return {"rate": rate(cases), "matmul_gflops": matmul_gflops()}


def fit_defaults(data: str, loss: str, seconds: float) -> dict[str, float]:
    """Samples a second of MIND through `fit` at its defaults, on a data set with features."""
    from dataclasses import replace

    import torch

    import mindlib
    from mindlib.data import leave_last_out, load

    log = load(data)
    split = leave_last_out(log)
    split = replace(split, validation=split.validation[:1])
    model = mindlib.MIND(log, generator=torch.Generator().manual_seed(SEED))
    training = mindlib.TrainingConfig(epochs=1, loss=loss)  # type: ignore[arg-type]
    random = np.random.default_rng(SEED).random(len(log))

    def rate(cases: float) -> float:
        part = replace(split, train_events=split.train_events & (random < cases / len(log)))
        return mindlib.fit(model, part, training, device="cpu").log[-1].samples_per_second

    rate(20_000)
    return {"rate": rate(rate(20_000) * seconds)}


def loss(form: str, active: int, seconds: float) -> dict[str, float]:
    """Batches a second of the loss and its gradients alone, at the defaults of `fit`.

    Args:
        form: "candidate" scores every item by its best interest; "label" is Eq. 10's literal form,
            with the attention that makes the user vector of each label.
        active: the number of active interests of each user.
    """
    import torch

    from mindlib.layers.attention import label_aware_attention
    from mindlib.training.sampled_softmax import candidate_aware_loss, sampled_softmax_loss

    generator = torch.Generator().manual_seed(SEED)
    interests, targets, negatives = (
        torch.randn(*shape, generator=generator, requires_grad=True)
        for shape in (
            (DEFAULT_BATCH, INTERESTS, DIM),
            (DEFAULT_BATCH, DIM),
            (DEFAULT_NEGATIVES, DIM),
        )
    )
    mask = (torch.arange(INTERESTS) < active).expand(DEFAULT_BATCH, -1)
    ids = torch.randint(1, BEAUTY, (DEFAULT_BATCH + DEFAULT_NEGATIVES,), generator=generator)
    items = (targets, negatives, ids[:DEFAULT_BATCH], ids[DEFAULT_BATCH:], None)

    def step() -> None:
        if form == "candidate":
            value = candidate_aware_loss(interests, mask, *items)
        else:
            users = label_aware_attention(interests, mask, targets, math.inf)
            value = sampled_softmax_loss(users, *items)
        torch.autograd.grad(value, [interests, targets, negatives])

    return _calls_per_second(step, seconds)


def matmul_gflops(size: int = 1024, repeats: int = 30) -> float:
    """The best speed of a float32 matrix product of torch, in GFLOP/s."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    left, right, out = (torch.randn(size, size, generator=generator) for _ in range(3))
    best = math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9


def recommend(
    data: str, model: str, users: int, seconds: float, in_int8: bool = True
) -> dict[str, float]:
    """Users a second of a vector model's `recommend`, from the histories on."""
    import torch

    import mindlib
    from mindlib.retrieval import exact

    if not in_int8:
        exact.MIN_USERS = users + 1
    log = as_log(**read_data(data, users))
    generator = torch.Generator().manual_seed(SEED)
    if model == "MIND":
        config = mindlib.MINDConfig.paper(dim=DIM, history_length=LENGTH)
        recommender = mindlib.MIND(log, config, generator=generator)
    else:
        config = mindlib.YouTubeDNNConfig.paper(dim=DIM, history_length=LENGTH)
        recommender = mindlib.YouTubeDNN(log, config, generator=generator)
    split = training_split(log, users)
    training = mindlib.TrainingConfig.paper(epochs=1, batch_size=BATCH, negatives=NEGATIVES)
    mindlib.fit(recommender, split, training, device="cpu")
    histories = split.train[:].histories
    return _calls_per_second(
        lambda: recommender.recommend(histories, TOP, exclude_history=True), seconds, users
    )


def recommend_implicit(data: str, users: int, seconds: float) -> dict[str, float]:
    """Users a second of implicit's ALS `recommend`, whose user vectors are ready."""
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    read = read_data(data, users)
    rows = np.repeat(np.arange(users), LENGTH)
    seen = csr_matrix(
        (np.ones(users * LENGTH, dtype=np.float32), (rows, read["history"].ravel() - 1)),
        shape=(users, read["num_items"]),
    )
    model = AlternatingLeastSquares(factors=DIM, iterations=1, random_state=SEED)
    model.fit(seen, show_progress=False)
    everybody = np.arange(users)
    return _calls_per_second(
        lambda: model.recommend(everybody, seen, N=TOP, filter_already_liked_items=True),
        seconds,
        users,
    )


def _calls_per_second(
    call: Callable[[], object], seconds: float, in_a_call: int = 1
) -> dict[str, float]:
    """Calls a second, times `in_a_call`."""
    call()  # warm up
    started, calls, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds:
        call()
        calls += 1
        elapsed = time.perf_counter() - started
    return {"rate": calls * in_a_call / elapsed}


JOBS: dict[str, Callable[..., dict[str, float]]] = {
    "train": train,
    "fit_defaults": fit_defaults,
    "loss": loss,
    "recommend": recommend,
    "recommend_implicit": recommend_implicit,
}


# Processes


def run(command: list[str], what: str, added: dict[str, str] | None = None) -> dict[str, float]:
    """Run a measuring process and read its one line of JSON.

    Args:
        what: is measured, for progress and errors.
        added: environment variables; without them those that tune the allocator or OpenBLAS are
            taken out, whatever the user's shell has set.

    Raises:
        BenchError: the process failed or printed something else.
    """
    tuning = {*ALLOCATOR, *ONE_BLAS_THREAD}
    environment = {key: value for key, value in os.environ.items() if key not in tuning}
    print(f"  {what} ...", end=" ", flush=True, file=sys.stderr)
    done = subprocess.run(command, env=environment | (added or {}), capture_output=True, text=True)
    try:
        if done.returncode:
            raise ValueError(f"exit status {done.returncode}")
        result = json.loads(done.stdout)
    except ValueError as error:
        print("failed", file=sys.stderr)
        raise BenchError(f"{what} failed ({error}):\n{_last_lines(done.stderr)}") from error
    print(f"{result['rate']:,.0f}/s, {result['peak_mb']:,.0f} MB", file=sys.stderr)
    return result


def job(name: str, what: str, added: dict[str, str] | None = None, /, **arguments: Any):
    """Run one of JOBS in a process of its own."""
    command = [sys.executable, str(HERE / "bench.py"), "--job", name, json.dumps(arguments)]
    return run(command, what, added)


def peer(data: Path, negatives: int, batch: int, seconds: float, what: str) -> dict[str, float]:
    """Samples a second of torch-rechub's MIND in its own trainer, at its best."""
    command = [_python(PEER_VENV), str(HERE / "peer_torch_rechub.py")]
    command += [str(data), str(negatives), str(seconds), str(batch)]
    return run(command, f"{PEER}, {what}", ALLOCATOR)


def install_peer() -> None:
    """torch-rechub and this environment's version of torch, in an environment of their own.

    Raises:
        BenchError: the environment cannot be made, or pip fails (without a network, say).
    """
    torch = version("torch").partition("+")[0]
    if _installed() == [PEER_VERSION, torch]:
        return
    print(f"installing {PEER} {PEER_VERSION} into {PEER_VENV} (some minutes)", file=sys.stderr)
    wanted = [f"{PEER}=={PEER_VERSION}", f"torch=={torch}"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(PEER_VENV)],
        [_python(PEER_VENV), "-m", "pip", "install", "--quiet", *wanted],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(
                f"could not install {' and '.join(wanted)}: `{' '.join(command)}` ended with "
                f"status {done.returncode}. It needs a network that reaches a package index; the "
                f"next `make bench` starts afresh. Its last words:\n"
                f"{_last_lines(done.stderr or done.stdout)}"
            )


def _installed() -> list[str]:
    """The versions of the peer and of torch in its environment; empty if it is not usable."""
    code = f"from importlib.metadata import version as v; print(v({PEER!r}), v('torch'))"
    try:
        done = subprocess.run([_python(PEER_VENV), "-c", code], capture_output=True, text=True)
    except OSError:
        return []
    return [name.partition("+")[0] for name in done.stdout.split()]


def _python(venv: Path) -> str:
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return str(venv / folder / name)


def _last_lines(text: str) -> str:
    return textwrap.indent("\n".join(text.strip().splitlines()[-12:]), "    ")


# Results


@dataclass(frozen=True)
class Row:
    """A line of the table: pairs of measurements, one pair a round.

    Attributes:
        name: what is compared.
        unit: of the rates.
        ours, other: what `run` returned, one after the other, round by round: the rate and the
            largest resident memory of the process, in MB.
        aim: the ratio ours / other that is aimed at; None for information.
        at_most: the ratio should stay below the aim instead of reaching it.
    """

    name: str
    unit: str
    ours: list[dict[str, float]]
    other: list[dict[str, float]]
    aim: float | None = None
    at_most: bool = False

    @cached_property
    def ratios(self) -> list[float]:
        """Pair by pair."""
        pairs = zip(self.ours, self.other, strict=True)
        return [ours["rate"] / other["rate"] for ours, other in pairs]

    @property
    def ratio(self) -> float:
        """Their median."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the aim."""
        if self.aim is None:
            return None
        return self.ratio <= self.aim if self.at_most else self.ratio >= self.aim

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        middle = (median_of(results, "rate") for results in (self.ours, self.other))
        ours, other = (f"{v:,.{0 if v >= 100 else 1}f} {self.unit}" for v in middle)
        peaks = (median_of(results, "peak_mb") for results in (self.ours, self.other))
        memory = " / ".join(f"{peak:,.0f}" for peak in peaks)
        ratio = f"{self.ratio:.2f} [{min(self.ratios):.2f}-{max(self.ratios):.2f}]"
        aim = "" if self.aim is None else f"{'<=' if self.at_most else '>='} {self.aim:g}"
        met = {None: "", True: "yes", False: "NO"}[self.met]
        return self.name, ours, other, ratio, memory, aim, met


def median_of(results: list[dict[str, float]], key: str) -> float:
    """The median over the rounds."""
    return statistics.median(result[key] for result in results)


def table(rows: list[Row]) -> str:
    """Columns lined up; numbers to the right."""
    head = (
        "ours  /  the other",
        "ours",
        "the other",
        "ratio median [min-max]",
        "peak MB",
        "aim",
        "met?",
    )
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [
        "  ".join(
            cell.rjust(width) if 1 <= column <= 4 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([texts[0], "-" * len(max(texts, key=len)), *texts[1:]])


# Comparisons


@dataclass(frozen=True)
class Settings:
    """How long and how often: see --help."""

    rounds: int
    seconds: float
    batches: tuple[int, ...]
    users: int
    data: dict[str, str]


def training_rows(folder: Path, settings: Settings) -> list[Row]:
    """Training beside the peer on a catalogue as large as Beauty, and beside the roofline."""
    samples = max(8 * max(settings.batches), int(100_000 * settings.seconds))
    data = write_data(folder / "beauty.npz", BEAUTY, samples)
    each = NEGATIVES // BATCH
    peers: dict[int, list[dict[str, float]]] = {}
    ours: dict[int, list[dict[str, float]]] = {}
    default_head, own_negatives = [], []
    for number in range(settings.rounds):
        print(f"training, round {number + 1} of {settings.rounds}", file=sys.stderr)
        for batch in settings.batches:
            what = f"batch {batch}"
            peers.setdefault(batch, []).append(peer(data, each, batch, settings.seconds, what))
            ours.setdefault(batch, []).append(_ours(data, batch, settings.seconds, what))
        default_head.append(_ours(data, BATCH, settings.seconds, "default head", hidden=[128]))
        what = f"{NEGATIVES} negatives for each sample"
        own_negatives.append(peer(data, NEGATIVES, BATCH, settings.seconds, what))

    best = max(ours, key=lambda batch: median_of(ours[batch], "rate"))
    peers_best = max(peers, key=lambda batch: median_of(peers[batch], "rate"))
    mflop = sum(flops_per_sample().values()) / 1e6
    unit = "samples/s"
    rows = [
        Row(f"MIND, batch {BATCH}  /  {PEER}", unit, ours[BATCH], peers[BATCH], 2),
        Row(f"MIND, our best batch {best}  /  {PEER} at {BATCH}", unit, ours[best], peers[BATCH]),
        Row(
            f"  our best batch {best}  /  {PEER} at its best {peers_best}",
            unit,
            ours[best],
            peers[peers_best],
            2,
        ),
    ]
    for batch in settings.batches[1:]:
        rows.append(Row(f"  batch {batch}  /  {PEER} at {batch}", unit, ours[batch], peers[batch]))
    rows += [
        Row(f"  our default head, batch {BATCH}  /  {PEER}", unit, default_head, peers[BATCH]),
        Row(
            f"  batch {BATCH}  /  {PEER}, {NEGATIVES:,} for each sample",
            unit,
            ours[BATCH],
            own_negatives,
        ),
    ]
    for batch in dict.fromkeys((BATCH, best)):
        rows.append(
            Row(
                f"  batch {batch}  /  a matrix product of 1024^3",
                "GFLOP/s",
                [result | {"rate": result["rate"] * mflop / 1e3} for result in ours[batch]],
                [result | {"rate": result["matmul_gflops"]} for result in ours[batch]],
            )
        )
    return rows


def default_rows(folder: Path, settings: Settings) -> list[Row]:
    """`fit` at its defaults: every candidate its own label, beside Eq. 10's literal form."""
    rows = []
    for name, data in settings.data.items():
        results: dict[str, list[dict[str, float]]] = {"candidate": [], "label": []}
        for number in range(settings.rounds):
            print(f"{name}, round {number + 1} of {settings.rounds}", file=sys.stderr)
            for form, of_form in results.items():
                of_form.append(job("fit_defaults", f"loss={form}", data=data, loss=form,
                                   seconds=settings.seconds))  # fmt: skip
        what = f"fit, {name}, candidate-aware loss  /  Eq. 10"
        rows.append(Row(what, "samples/s", results["candidate"], results["label"], 0.8))
    return rows


def loss_rows(folder: Path, settings: Settings) -> list[Row]:
    """The time of the loss and its gradients alone: by the best interest, beside Eq. 10."""
    rows = []
    for active in (2, INTERESTS):
        results: dict[str, list[dict[str, float]]] = {"label": [], "candidate": []}
        for _ in range(settings.rounds):
            for form, of_form in results.items():
                of_form.append(job("loss", f"loss={form}, {active} active interests", form=form,
                                   active=active, seconds=settings.seconds / 2))  # fmt: skip
        name = f"time of the candidate-aware loss, {active} active  /  Eq. 10"
        times = {form: _microseconds(of_form) for form, of_form in results.items()}
        rows.append(Row(name, "µs", times["candidate"], times["label"], 1.25, at_most=True))
    return rows


def busy_rows(folder: Path, settings: Settings) -> list[Row]:
    """Two training runs at once: the slower one, beside one that has the machine to itself."""
    samples = int(100_000 * max(settings.seconds, 1))
    data = write_data(folder / "busy.npz", BEAUTY, samples)
    seconds = 4 * settings.seconds
    alone, slower = [], []
    for number in range(settings.rounds):
        print(f"two at once, round {number + 1} of {settings.rounds}", file=sys.stderr)
        alone.append(_ours(data, DEFAULT_BATCH, seconds, "alone"))
        with ThreadPoolExecutor(2) as pool:
            both = [
                pool.submit(_ours, data, DEFAULT_BATCH, seconds, f"{turn} of two")
                for turn in ("first", "second")
            ]
        slower.append(min((one.result() for one in both), key=lambda result: result["rate"]))
    return [Row("the slower of two at once  /  alone", "samples/s", slower, alone, 0.3)]


def catalogue_rows(folder: Path, settings: Settings) -> list[Row]:
    """Training with large catalogues: beside the peer, and beside ourselves with a small one."""
    samples = int(60_000 * max(settings.seconds, 1))
    books = write_data(folder / "books.npz", BOOKS, samples)
    few = write_data(folder / "few.npz", FEW, samples)
    many = write_data(folder / "many.npz", MANY, samples)
    ours, peers, of_few, of_many = [], [], [], []
    for number in range(settings.rounds):
        print(f"large catalogues, round {number + 1} of {settings.rounds}", file=sys.stderr)
        what = f"{BOOKS:,} items"
        peers.append(peer(books, NEGATIVES // BATCH, BATCH, settings.seconds, what))
        for path, items, rates in ((books, BOOKS, ours), (few, FEW, of_few), (many, MANY, of_many)):
            rates.append(_ours(path, BATCH, settings.seconds, f"{items:,} items"))

    return [
        Row(f"MIND, batch {BATCH}, {BOOKS:,} items  /  {PEER}", "samples/s", ours, peers, 20),
        Row(
            f"time of our step, {MANY:,} items  /  {FEW:,} items",
            "µs",
            _microseconds(of_many, BATCH),
            _microseconds(of_few, BATCH),
            1.3,
            at_most=True,
        ),
    ]


def _microseconds(results: list[dict[str, float]], size: int = 1) -> list[dict[str, float]]:
    """The same results with the time of `size` samples in place of the rate."""
    return [result | {"rate": size / result["rate"] * 1e6} for result in results]


def _ours(data: Path, batch: int, seconds: float, what: str, hidden: list[int] | None = None):
    return job(
        "train",
        f"mindlib, {what}",
        data=str(data),
        batch=batch,
        hidden=hidden or [],
        seconds=seconds,
    )


def recommend_rows(folder: Path, settings: Settings) -> list[Row]:
    """Rank the whole catalogue: the top 100 of every user, without the items of the history."""
    data = write_data(folder / "users.npz", BEAUTY, settings.users)
    common = {"data": str(data), "users": settings.users, "seconds": settings.seconds}
    models, implicits = ("YouTubeDNN", "MIND"), ("as installed", "at its best")
    environments = dict(zip(implicits, ({}, ONE_BLAS_THREAD | ALLOCATOR), strict=True))
    rates: dict[str, list[dict[str, float]]] = {}
    for number in range(settings.rounds):
        print(f"recommending, round {number + 1} of {settings.rounds}", file=sys.stderr)
        for how, added in environments.items():
            result = job("recommend_implicit", f"implicit {how}", added, **common)
            rates.setdefault(how, []).append(result)
        for model in models:
            result = job("recommend", f"mindlib, {model}", model=model, **common)
            rates.setdefault(model, []).append(result)
        result = job("recommend", "mindlib, float32", model="MIND", in_int8=False, **common)
        rates.setdefault("float32", []).append(result)
    rows = [
        Row(
            f"top {TOP}, {name}  /  implicit's ALS {how}",
            "users/s",
            rates[model],
            rates[how],
            1.5 if (model, how) == ("YouTubeDNN", implicits[1]) else None,
        )
        for model, name in zip(models, ("YouTubeDNN", f"MIND-{INTERESTS}"), strict=True)
        for how in implicits
    ]
    name = f"top {TOP}, MIND-{INTERESTS}, most products in int8  /  all in float32"
    return [*rows, Row(name, "users/s", rates["MIND"], rates["float32"], 2.5)]


# Report


def machine(load_before: float) -> dict[str, Any]:
    """Where the numbers come from: they say nothing about another machine."""
    import torch

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "load_before": load_before,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {
            "torch": torch.__version__,
            PEER: PEER_VERSION,
            **{name: version(name) for name in ("implicit", "mindlib", "numpy")},
        },
    }


def report(rows: list[Row], where: dict[str, Any], settings: Settings) -> str:
    """All that is printed."""
    flops = flops_per_sample()
    counts = "\n".join(f"  {name:<38}{count:>9,}" for name, count in flops.items())
    return f"""
{where["cpu"]}, {where["threads"]} threads; {", ".join(map(" ".join, where["versions"].items()))}
L={LENGTH}, d={DIM}, K={INTERESTS}, r={ITERATIONS}, {NEGATIVES:,} negatives, {BEAUTY:,} items \
where nothing else is said. Rounds: {settings.rounds}, of {settings.seconds:g} s each.
The two sides of a ratio were measured in the same round. Read the ratios: the rest depends on the
machine, which had a load of {where["load_before"]:.1f} before we started (0 is quiet; ratios of a \
busy one mean little).

{table(rows)}

{PEER}'s {NEGATIVES:,} negatives are {NEGATIVES // BATCH} for each of {BATCH} samples, our \
{NEGATIVES:,} are shared by all samples of a
batch: we compute {NEGATIVES * BATCH // NEGATIVES} times as many inner products with negatives. \
It computes as many with {NEGATIVES:,} for each.

FLOP of our training step, a sample (derived in benchmarks/README.md):
{counts}
  {"together":<38}{sum(flops.values()):>9,}
"""


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        prog="bench.py", description="mindlib's speed beside torch-rechub and implicit, in ratios."
    )
    parser.add_argument("--rounds", type=int, help="pairs of each comparison (3)")
    parser.add_argument("--seconds", type=float, help="length of one measurement (2)")
    parser.add_argument(
        "--quick", action="store_true", help="one round of 1 s, fewer sizes: does it work at all?"
    )
    parser.add_argument(
        "--data", nargs="*", default=[], metavar="NAME=PATH",
        help="data sets for `fit` at its defaults, such as beauty=PATH journey=complete-journey",
    )  # fmt: skip
    parser.add_argument("--job", nargs=2, metavar=("NAME", "JSON"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.rounds is None:
        given.rounds = 1 if given.quick else 3
    if given.seconds is None:
        given.seconds = 1.0 if given.quick else 2.0
    if given.rounds < 1:
        parser.error(f"--rounds {given.rounds}: expected at least 1")
    if not 0.1 <= given.seconds <= 60:
        parser.error(f"--seconds {given.seconds:g}: expected 0.1 to 60")
    return given


def main() -> None:
    """Measure, print, write."""
    given = parse()
    if given.job:
        name, arguments = given.job
        result = JOBS[name](**json.loads(arguments))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(result | {"peak_mb": peak}))
        return
    larger = LARGER_BATCHES[1:2] if given.quick else LARGER_BATCHES
    users = 2_000 if given.quick else 20_000
    data = dict(pair.split("=", 1) for pair in given.data)
    settings = Settings(given.rounds, given.seconds, (BATCH, *larger), users, data)
    BUILD.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    if load > 0.5:
        print(
            f"bench: the machine is busy (load {load:.1f}); wait until it is quiet: while others "
            f"compute, two threads that wait for each other can be a hundred times slower",
            file=sys.stderr,
        )
    try:
        install_peer()
        rows = []
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            for compare in (
                training_rows, default_rows, loss_rows, busy_rows, catalogue_rows, recommend_rows,
            ):  # fmt: skip
                rows += compare(Path(folder), settings)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    where = machine(load)
    print(report(rows, where, settings))
    path = BUILD / ("quick.json" if given.quick else "results.json")
    results = [asdict(row) | {"ratio": row.ratio, "ratios": row.ratios, "met": row.met}
               for row in rows]  # fmt: skip
    write_results(
        path,
        {
            "machine": where,
            "settings": asdict(settings) | {"quick": given.quick},
            "flops_per_sample": flops_per_sample(),
            "rows": results,
        },
    )
    print(f"{path.relative_to(HERE.parent)} has every pair; {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
