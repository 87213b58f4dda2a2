"""Time to compute one user's interests: the model in torch, and its export in onnxruntime.

    python benchmarks/export.py [--items N] [--requests N] [--quick]

One request at a time, one thread, history full, at MIND's defaults. The two take turns, request by
request; "features" is the way from ids and profile values to numbers, the same for both. Run it
alone on the machine. The table goes to build/bench/export.json as well (with --quick:
export_quick.json).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
import torch

from mindlib.data import Interactions
from mindlib.models import MIND, MINDConfig
from mindlib.online.export import export
from mindlib.online.exported import ExportedModel, measure_skew
from mindlib.retrieval import InterestModel

BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"
WARM_UP = 50
SEED = 0


def catalogue_log(items: int) -> Interactions:
    """A log of one event for each item; the profile has two fields of 10 values."""
    numbers = np.arange(items)
    users = pl.DataFrame({"user": numbers, "age": numbers % 10, "region": numbers // 7 % 10})
    log = pl.DataFrame({"user": numbers, "item": numbers, "timestamp": numbers})
    return Interactions.from_frames(log, users=users, profile_fields=("age", "region"))


def requests(count: int, items: int, length: int) -> list[tuple[list[int], dict[str, int]]]:
    """Random requests: full histories and profiles."""
    rng = np.random.default_rng(SEED)
    return [
        (rng.integers(items, size=length).tolist(), {"age": age, "region": region})
        for age, region in rng.integers(10, size=(count, 2)).tolist()
    ]


def latencies(
    model: InterestModel, exported: ExportedModel, sent: list[tuple[list[int], dict[str, int]]]
) -> dict[str, list[float]]:
    """Seconds of each request: for its features, and for the vectors on either side."""
    seconds: dict[str, list[float]] = {"features": [], "torch": [], "onnxruntime": []}
    for behaviors, profile in sent:
        start = time.perf_counter()
        histories = exported.catalogue.encode_requests([behaviors], [profile])
        seconds["features"].append(time.perf_counter() - start)
        for name, side in (("torch", model), ("onnxruntime", exported)):
            start = time.perf_counter()
            side.interests(histories)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def rows(items: int, count: int) -> dict[str, dict[str, float]]:
    """Median, 99th percentile and worst in milliseconds, and the ratio of the medians."""
    torch.set_num_threads(1)
    log, config = catalogue_log(items), MINDConfig()
    model = MIND(log, config, generator=torch.Generator().manual_seed(SEED))
    with tempfile.TemporaryDirectory() as folder:
        exported = ExportedModel.load(export(model, log, Path(folder) / "mind"))
        sent = requests(WARM_UP + count, items, config.history_length)
        first = exported.catalogue.encode_requests(*zip(*sent[:WARM_UP], strict=True))
        found = measure_skew(model, exported, first)
        assert found < 1e-5, f"the two differ by {found:.1e}"
        seconds = latencies(model, exported, sent)
    result = {}
    for name, values in seconds.items():
        p50, p99, worst = np.percentile(values[WARM_UP:], [50, 99, 100]) * 1000
        result[name] = {"p50 ms": float(p50), "p99 ms": float(p99), "max ms": float(worst)}
    medians = [result[name]["p50 ms"] for name in ("torch", "onnxruntime")]
    result["torch / onnxruntime"] = {"p50": medians[0] / medians[1]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--quick", action="store_true", help="does it work at all?")
    arguments = parser.parse_args()
    items, count = (1000, 100) if arguments.quick else (arguments.items, arguments.requests)
    table = rows(items, count)
    for name, values in table.items():
        print(f"{name:22}", *(f"{key} {value:8.3f}  " for key, value in values.items()))
    BUILD.mkdir(parents=True, exist_ok=True)
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "command": " ".join(sys.argv),
        "versions": {name: version(name) for name in ("mindlib", "torch", "onnxruntime")},
        "items": items,
        "requests": count,
        "rows": table,
    }
    path = BUILD / ("export_quick.json" if arguments.quick else "export.json")
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
