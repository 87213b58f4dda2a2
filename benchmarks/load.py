"""The platform under load: real HTTP clients on this machine, and how long each stage took.

    python benchmarks/load.py [--seconds 60] [--clients 4] [--write FILE]
    python benchmarks/load.py --bundle FOLDER --store FILE

Each client keeps a connection and sends its next request after the answer to the last one: it asks
for a user's recommendations and, after one slate in five, reports a click on an item of it.
Therefore the latency is measured at the throughput that these clients reach, not at a fixed rate: a
slow answer delays the requests behind it. The times of the stages are those in the answers;
"request" and "click" are the times that a client waits.

The server is a process of its own, started as anybody starts it, with one thread for each stage of
a request. Without --bundle it serves the demonstration of `python -m mindlib.online.serving`,
which is made first if it does not exist. Clicks go into a copy of the store. Any answer but the
expected one is an error, and ends in exit status 1 without a file. What the first seconds bring is
not counted.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mindlib.online.serving.store import SqliteStore

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"
HOST = "127.0.0.1"
WARM_UP = 3.0
CLICKS = 0.2
LENGTH = 100
USERS = 10_000
STARTS_WITHIN = 120.0
PATIENCE = 30.0
STAGES = ("store", "extract", "recall", "rank", "rerank", "total")
PAPERS = "extract + recall"  # for which §5 has less than 15 ms


@dataclass
class Seen:
    """What one client has met.

    Attributes:
        milliseconds: by stage, of each counted answer; "request" and "click" as the client waited.
        fallbacks: how often the platform said that a stage was replaced, "rank: late" and so on.
        errors: what was not as expected.
    """

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    fallbacks: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def note(self, what: str, taken: float) -> None:
        """One more duration."""
        self.milliseconds.setdefault(what, []).append(taken)


class Unexpected(Exception):
    """An answer that is no answer."""


class Client:
    """One user after another, on one connection, until it is time to stop.

    Args:
        port: of the server on this machine.
        users: who may ask.
        seed: of the order.
    """

    def __init__(self, port: int, users: Sequence[str], seed: int) -> None:
        self.port, self.users, self.seen = port, users, Seen()
        self._random = random.Random(seed)

    def run(self, start: float, stop: float) -> None:
        """Ask until `stop`; what was asked after `start` counts (both `time.perf_counter`)."""
        shown: list[tuple[str, Any]] = []
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        with closing(connection):
            while (now := time.perf_counter()) < stop:
                counted = now >= start
                try:
                    if shown and self._random.random() < CLICKS:
                        self._click(connection, *self._random.choice(shown), counted)
                        shown = []
                    else:
                        shown = self._ask(connection, self._random.choice(self.users), counted)
                except (OSError, http.client.HTTPException, ValueError, Unexpected) as error:
                    self.seen.errors.append(f"{type(error).__name__}: {error}")
                    return

    def _ask(
        self, connection: http.client.HTTPConnection, user: str, counted: bool
    ) -> list[tuple[str, Any]]:
        path = f"/recommendations/{quote(user, safe='')}?n={LENGTH}"
        answer, taken = self._send(connection, "GET", path, None, 200)
        if not answer["items"]:
            raise Unexpected(f"GET {path}: an empty list")
        if counted:
            stages = answer["milliseconds"]
            for stage, spent in stages.items():
                self.seen.note(stage, spent)
            if {"extract", "recall"} <= stages.keys():
                self.seen.note(PAPERS, stages["extract"] + stages["recall"])
            self.seen.note("request", taken)
            self.seen.fallbacks.update(f"{f['stage']}: {f['reason']}" for f in answer["fallbacks"])
        return [(user, item["id"]) for item in answer["items"]]

    def _click(
        self, connection: http.client.HTTPConnection, user: str, item: Any, counted: bool
    ) -> None:
        body = json.dumps({"user": user, "item": item})
        _, taken = self._send(connection, "POST", "/clicks", body, 201)
        if counted:
            self.seen.note("click", taken)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: str | None,
        expected: int,
    ) -> tuple[dict[str, Any], float]:
        headers = {"Content-Type": "application/json"} if body else {}
        began = time.perf_counter()
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        taken = 1e3 * (time.perf_counter() - began)
        if response.status != expected:
            raise Unexpected(f"{method} {path}: {response.status}, {content[:200]!r}")
        return json.loads(content), taken


def load(
    port: int, users: Sequence[str], *, clients: int, seconds: float, warm_up: float = WARM_UP
) -> Seen:
    """Let some clients ask at once, and add up what they have met."""
    asking = [Client(port, users, seed) for seed in range(clients)]
    start = time.perf_counter() + warm_up
    threads = [threading.Thread(target=c.run, args=(start, start + seconds)) for c in asking]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Seen()
    for client in asking:
        for what, taken in client.seen.milliseconds.items():
            total.milliseconds.setdefault(what, []).extend(taken)
        total.fallbacks += client.seen.fallbacks
        total.errors += client.seen.errors
    return total


def rows(seen: Seen) -> list[dict[str, Any]]:
    """A row for each stage: the median and the 99th percentile, in milliseconds."""
    found = []
    for stage in (*STAGES, PAPERS, "request", "click"):
        taken = seen.milliseconds.get(stage)
        if taken:
            p50, p99 = np.percentile(taken, (50, 99)).tolist()
            found.append({"stage": stage, "count": len(taken), "p50": p50, "p99": p99})
    return found


@contextmanager
def server(bundle: Path, store: Path) -> Iterator[int]:
    """The platform as a process of its own, on a port that is free.

    Raises:
        RuntimeError: it does not start.
    """
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mindlib.online.serving", "--port", str(port)]
    command += ["--bundle", str(bundle), "--store", str(store)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env=environment, cwd=ROOT
        )
        try:
            deadline = time.monotonic() + STARTS_WITHIN
            while not _up(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    raise RuntimeError(f"the server did not start: {said.read()[-2000:].strip()}")
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _up(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection(HOST, port, timeout=2)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
    except OSError:
        return False


def machine() -> dict[str, Any]:
    """What the numbers belong to."""
    cpu = ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/load.py", *sys.argv[1:]]),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "versions": {name: version(name) for name in ("mindlib", "torch", "fastapi", "uvicorn")},
    }


def report(result: Mapping[str, Any]) -> str:
    """What is printed."""
    lines = [f"{'stage':<18} {'count':>7} {'p50 ms':>8} {'p99 ms':>8}"]
    lines += [
        f"{row['stage']:<18} {row['count']:>7,} {row['p50']:>8.2f} {row['p99']:>8.2f}"
        for row in result["rows"]
    ]
    answers = f"{result['answers_per_second']:.0f} answers a second, no error"
    replaced = ", ".join(f"{what} {n:,} times" for what, n in result["fallbacks"].items())
    return "\n".join([*lines, f"{answers}; replaced: {replaced or 'nothing'}"])


def parse(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="load.py", description="The platform under load.")
    parser.add_argument("--seconds", type=float, default=60.0, help="that count (%(default)g)")
    parser.add_argument("--clients", type=int, default=4, help="at once (%(default)s)")
    parser.add_argument("--bundle", type=Path, help="the version to serve")
    parser.add_argument("--store", type=Path, help="its behaviour store, of which a copy is used")
    parser.add_argument(
        "--data",
        choices=("complete-journey", "planted"),
        default="complete-journey",
        help="of the demonstration (%(default)s)",
    )
    parser.add_argument(
        "--write", type=Path, default=BUILD / "load.json", help="the file (build/bench/load.json)"
    )
    options = parser.parse_args(given)
    if not 0 < options.seconds <= 3600:
        parser.error(f"--seconds {options.seconds:g}: expected more than 0, at most 3600")
    if not 1 <= options.clients <= 64:
        parser.error(f"--clients {options.clients}: expected 1 to 64")
    if (options.bundle is None) != (options.store is None):
        parser.error("--bundle and --store go together: a version, and the behaviours it reads")
    if options.store is not None and not options.store.is_file():
        parser.error(f"--store {options.store}: there is no such file")
    if not options.write.parent.is_dir() and options.write.parent != BUILD:
        parser.error(f"--write {options.write}: there is no folder {options.write.parent}")
    return options


def main(given: Sequence[str] | None = None) -> None:
    """See the head of this file."""
    options = parse(given)
    bundle, store = options.bundle, options.store
    if bundle is None:
        from mindlib.online.serving.demo import build_demo

        bundle, store = build_demo(options.data, ROOT / "build" / "serving" / options.data)
    with closing(SqliteStore(store)) as behaviors:
        users = behaviors.users(USERS)
    result = machine()
    if result["load"][0] > 0.5:
        print(f"other programs run (load {result['load'][0]:.1f}): no time means anything")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(store, folder))
        try:
            with server(bundle, copy) as port:
                seen = load(port, users, clients=options.clients, seconds=options.seconds)
        except RuntimeError as error:
            sys.exit(f"load: {error}")
    if seen.errors or "request" not in seen.milliseconds:
        first = seen.errors[0] if seen.errors else "no answer within the time"
        sys.exit(f"load: {len(seen.errors)} of {options.clients} clients met an error: {first}")
    answers = sum(len(seen.milliseconds.get(kind, ())) for kind in ("request", "click"))
    result |= {
        "clients": options.clients,
        "seconds": options.seconds,
        "users": len(users),
        "list": LENGTH,
        "answers_per_second": answers / options.seconds,
        "fallbacks": dict(seen.fallbacks),
        "rows": rows(seen),
    }
    options.write.parent.mkdir(parents=True, exist_ok=True)
    part = options.write.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.replace(options.write)
    print(report(result))
    print(options.write)


if __name__ == "__main__":
    main()
