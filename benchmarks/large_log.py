"""Training from a log on disk that is larger than a process should hold: memory and speed.

    python benchmarks/large_log.py [--events N] [--steps N] [--rounds N] [--folder DIR]

A log of N events (200 million) is generated in a temporary folder, which needs 48 bytes an event on
disk. The steps of `fit` then run on the opened folder and on the same log in memory, each in a
process of its own, in turns. Pages of mapped files (RssFile) can be dropped at any time; what a
process cannot give back is RssAnon. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ITEMS, MEAN_LENGTH, USERS_AT_ONCE = 100_000, 100, 20_000
WARM_UP = 10


def generate(folder: Path, events: int) -> None:
    """Write a log with histories of 50 to 150 events, block by block."""
    from mindlib.data import Interactions

    lengths = 50 + np.arange(events // MEAN_LENGTH) * 37 % 101
    ends, rng = np.cumsum(lengths), np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=folder.parent) as raw:
        columns = {
            name: np.lib.format.open_memmap(f"{raw}/{name}.npy", "w+", np.int64, (int(ends[-1]),))
            for name in ("users", "items", "timestamps")
        }
        for first in range(0, len(lengths), USERS_AT_ONCE):
            block = lengths[first : first + USERS_AT_ONCE]
            size, end = block.sum(), ends[min(first + USERS_AT_ONCE, len(ends)) - 1]
            own = slice(end - size, end)
            columns["users"][own] = np.repeat(np.arange(len(block)) + first + 1, block)
            columns["items"][own] = 1 + (ITEMS * rng.random(size) ** 2).astype(np.int64)
            columns["timestamps"][own] = np.arange(end - size, end)
        log = Interactions(
            columns["users"],
            columns["items"],
            columns["timestamps"],
            user_ids=np.arange(len(lengths) + 1),
            item_ids=np.arange(ITEMS + 1),
            name="generated",
        )
        log.save(folder)


def resident(kind: str) -> float:
    """Megabytes of this process that are in memory: RssAnon, or RssFile."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def measure(folder: str, is_mapped: bool, steps: int) -> dict[str, float]:
    """Run the steps of `fit` in this process."""
    import torch

    import mindlib
    from mindlib.data import Interactions, leave_last_out
    from mindlib.training import batches, keep_freed_memory, make_optimizers, make_sampler
    from mindlib.training import training_step as run

    found, peak, done = {"imports, MB": resident("RssAnon")}, [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], resident("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    log = Interactions.open(folder)
    if not is_mapped:
        columns = {name: np.array(getattr(log, name)) for name in ("users", "items", "timestamps")}
        log = replace(log, **columns)
    split = leave_last_out(log)
    training, generator = mindlib.TrainingConfig(), torch.Generator().manual_seed(0)
    cases = split.train
    keep_freed_memory()
    sampler = make_sampler(split, training, torch.device("cpu"))
    model = mindlib.MIND(log, generator=generator)
    optimizers = make_optimizers(model, model.items.weight, training.learning_rate)
    found["preparation, s"] = time.perf_counter() - started
    seconds, cpu = [], []
    started = time.perf_counter()
    for batch in batches(cases, training.batch_size, generator):
        run(model, batch, sampler, training, generator)
        for optimizer in optimizers:
            optimizer.step()
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time())
        if len(seconds) == WARM_UP + steps:
            break
    done.set()
    watcher.join()
    states = [value for o in optimizers for s in o.state.values() for value in s.values()]
    weights = [*model.parameters(), *states]
    return found | {
        "model and optimizer, MB": sum(w.numel() * w.element_size() for w in weights) / 2**20,
        "RssAnon, MB": resident("RssAnon"),
        "highest RssAnon, MB": peak[0],
        "RssFile, MB": resident("RssFile"),
        "CPU, µs a pair": (cpu[-1] - cpu[WARM_UP - 1]) / (training.batch_size * steps) * 1e6,
        "pairs a second": training.batch_size * steps / (seconds[-1] - seconds[WARM_UP - 1]),
    }


def main() -> None:
    """Generate, measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000_000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the temporary folder is made")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        print(json.dumps(measure(*json.loads(given.job))))
        return
    rounds: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        generate(Path(folder) / "log", given.events)
        for is_mapped in [True, False] * given.rounds:
            job = json.dumps([f"{folder}/log", is_mapped, given.steps])
            command = [sys.executable, __file__, "--job", job]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            rounds[is_mapped].append(json.loads(output))
    print(f"| {given.events:,} events | on disk | in memory |\n|---|--:|--:|")
    for name in rounds[True][0]:
        values = [statistics.median(r[name] for r in rounds[kind]) for kind in (True, False)]
        print(f"| {name} | {values[0]:,.0f} | {values[1]:,.0f} |")


if __name__ == "__main__":
    main()
