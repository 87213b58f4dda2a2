"""A training step on catalogues from 10^4 to 10^7 items: Adam by rows beside dense Adam.

    python benchmarks/scaling.py [--steps N] [--output FILE] [--quick]

The step is mindlib's own (`training_step` of MIND, then the optimisers); the two sides differ in
what updates the item table: `RowAdam`, or torch's fused Adam on the whole table. For dense Adam the
gradient is made dense first, as autograd would make it for a table that is not sparse. Every
measurement is a process of its own. A size whose table, moments and gradient do not fit the memory
that is free is skipped, and the results say so.

Run it alone on the machine. Results: build/bench/scaling.json (with --quick: scaling-quick.json).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import bench
import numpy as np

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = (1_000, 10_000)
Kind = Literal["RowAdam", "dense Adam"]
KINDS: tuple[Kind, ...] = ("RowAdam", "dense Adam")
WARM_UP = 5


def needed_bytes(items: int, kind: Kind) -> int:
    """The table, two moments and, where it is dense, the gradient; some of the size of the ids."""
    tables = 3 if kind == "RowAdam" else 4
    return items * (tables * bench.DIM * 4 + 6 * 8)


def free_bytes() -> int:
    """Memory that a process may take without pushing another out."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def peak_bytes() -> int:
    """The most that this process has held so far."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(items: int, kind: Kind, steps: int) -> dict[str, Any]:
    """Seconds of each step, and the memory that model and optimiser took; in this process."""
    import torch

    import mindlib
    from mindlib.layers.routing import RoutingConfig
    from mindlib.training import (
        batches,
        keep_freed_memory,
        make_optimizers,
        make_sampler,
        training_step,
    )

    keep_freed_memory()
    samples = (WARM_UP + steps) * bench.BATCH
    drawn = np.random.default_rng(bench.SEED).integers(1, items + 1, (samples, bench.LENGTH + 1))
    log = bench.as_log(drawn[:, :-1], drawn[:, -1], items)
    split = bench.training_split(log, samples)
    training = mindlib.TrainingConfig.paper(batch_size=bench.BATCH, negatives=bench.NEGATIVES)
    sampler = make_sampler(split, training, torch.device("cpu"))
    generator = torch.Generator().manual_seed(bench.SEED)
    cases = split.train

    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.Adam([parameter]).step()  # imports much, which is not to be counted

    before = peak_bytes()
    routing = RoutingConfig.paper(max_interests=bench.INTERESTS, iterations=bench.ITERATIONS)
    config = mindlib.MINDConfig.paper(dim=bench.DIM, history_length=bench.LENGTH, routing=routing)
    model = mindlib.MIND(log, config, generator=generator)
    table = model.items.weight
    optimizers = make_optimizers(model, table, training.learning_rate)
    if kind == "dense Adam":
        optimizers[0] = torch.optim.Adam([table], lr=training.learning_rate, fused=True)
    seconds = []
    for batch in batches(cases, bench.BATCH, generator):
        started = time.perf_counter()
        training_step(model, batch, sampler, training, generator)
        if kind == "dense Adam":
            assert table.grad is not None
            table.grad = table.grad.to_dense()
        for optimizer in optimizers:
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[WARM_UP:], "bytes": peak_bytes() - before}


def row(items: int, kind: Kind, steps: int) -> dict[str, Any]:
    """One line of the results: a measurement in a process of its own, or why there is none."""
    found: dict[str, Any] = {"items": items, "optimizer": kind}
    needed, free = needed_bytes(items, kind), free_bytes()
    print(f"  {items:>12,} items, {kind} ...", end=" ", flush=True, file=sys.stderr)
    if needed * 1.1 > free:
        skipped = f"needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        print(f"skipped: {skipped}", file=sys.stderr)
        return found | {"skipped": skipped}
    command = [sys.executable, __file__, "--job", json.dumps([items, kind, steps])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print("failed", file=sys.stderr)
        raise bench.BenchError(f"{items} items, {kind}:\n{done.stderr}")
    result = json.loads(done.stdout)
    times = sorted(result["seconds"])
    median = statistics.median(times)
    print(f"{median * 1e3:.2f} ms, {result['bytes'] / 1e9:.2f} GB", file=sys.stderr)
    return found | {
        "milliseconds": median * 1e3,
        "fastest": times[0] * 1e3,
        "slowest": times[-1] * 1e3,
        "gigabytes": result["bytes"] / 1e9,
        "gigabytes_expected": needed / 1e9,
    }


def report(rows: list[dict[str, Any]]) -> str:
    """A Markdown table, a line for each size."""
    lines = [
        "| items | " + " | ".join(f"{kind}, ms | GB" for kind in KINDS) + " | times as long |",
        "|--:" * (2 + 2 * len(KINDS)) + "|",
    ]
    for items in dict.fromkeys(found["items"] for found in rows):
        pair = {found["optimizer"]: found for found in rows if found["items"] == items}
        cells = []
        for kind in KINDS:
            found = pair[kind]
            if "skipped" in found:
                cells += [f"– ({found['skipped']})", "–"]
            else:
                cells += [f"{found['milliseconds']:,.2f}", f"{found['gigabytes']:.2f}"]
        ours, other = (pair[kind].get("milliseconds") for kind in KINDS)
        cells.append(f"{other / ours:,.1f}" if ours and other else "–")
        lines.append(f"| {items:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="scaling.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, help="measured steps of each size (40)")
    parser.add_argument("--output", type=Path, help="the JSON file to write")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it work at all?")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.steps is None:
        given.steps = 5 if given.quick else 40
    if given.steps < 1:
        parser.error(f"--steps {given.steps}: expected at least 1")
    if given.output is None:
        given.output = bench.BUILD / ("scaling-quick.json" if given.quick else "scaling.json")
    if not given.output.parent.is_dir() and given.output.parent != bench.BUILD:
        parser.error(f"--output {given.output}: there is no folder {given.output.parent}")
    return given


def main() -> None:
    """Measure, print, write."""
    given = parse()
    if given.job:
        print(json.dumps(measure(*json.loads(given.job))))
        return
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"scaling: the machine is busy (load {load:.1f}); wait until it is quiet: a busy "
              f"machine's numbers mean nothing", file=sys.stderr)  # fmt: skip
    sizes = QUICK_SIZES if given.quick else SIZES
    try:
        rows = [row(items, kind, given.steps) for items in sizes for kind in KINDS]
    except bench.BenchError as error:
        sys.exit(f"scaling: {error}")
    print(report(rows))
    where = bench.machine(load)
    for absent in (bench.PEER, "implicit"):  # not measured here
        where["versions"].pop(absent)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    bench.write_results(
        given.output,
        {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": " ".join(["python", "benchmarks/scaling.py", *sys.argv[1:]]),
            "machine": where,
            "memory_gigabytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
            "settings": {
                "dim": bench.DIM,
                "batch_size": bench.BATCH,
                "negatives": bench.NEGATIVES,
                "history_length": bench.LENGTH,
                "steps": given.steps,
                "warm_up": WARM_UP,
            },
            "rows": rows,
        },
    )
    print(f"\nwritten to {given.output}", file=sys.stderr)


if __name__ == "__main__":
    main()
