"""The server under faults: swaps, a locked store and kill -9, and nothing acknowledged is lost.

    python benchmarks/soak.py [--seconds 60] [--clients 4] [--bundle FOLDER --store FILE]

Clients request recommendations and report clicks without a pause, each with a key, while the server
loads and swaps its version every second. Once, another program locks the store for two seconds. In
the end the server is killed with SIGKILL, and its store is compared with the acknowledged clicks.
The exit status is 1 if an answer was neither expected nor the documented 503, a click is missing or
stored twice, or the memory of the server grew. The server uses a copy of the store.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.demo import build_demo
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.server import HOST, server_config
from mindlib.online.serving.store import SqliteStore

ROOT = Path(__file__).resolve().parent.parent
SWAP_SECONDS, LOCK_SECONDS = 1.0, 2.0
SETTLED_SECONDS = 30.0  # in less time, memory still grows with the first requests
GROWTH = 1.1  # of the memory from the second quarter of the time to the last one, at most


@dataclass
class Client:
    """A client, and what it was answered.

    Attributes:
        acknowledged: for each key the item and the time of the click.
        answers: how often each request had each status.
        versions: how often each version answered.
    """

    name: str
    port: int
    users: Sequence[str]
    acknowledged: dict[str, tuple[str, object, int]] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)

    def run(self, stop: float) -> None:
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=30)) as connection:
            number = 0
            while time.monotonic() < stop:
                user = self.users[number % len(self.users)]
                path = f"/recommendations/{quote(user, safe='')}?n=10"
                status, slate = self._send(connection, "GET", path)
                if status == 200 and slate["items"]:
                    self.versions[slate["version"]] += 1
                    click = {"user": user, "item": slate["items"][0]["id"]}
                    click["key"] = f"{self.name}-{number}"
                    while time.monotonic() < stop:  # until it is acknowledged
                        status, stored = self._send(connection, "POST", "/clicks", click)
                        if status == 201:
                            self.acknowledged[click["key"]] = (user, click["item"], stored["time"])
                        if status != 503:
                            break
                number += 1

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: object = None
    ) -> tuple[int, dict]:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        content = json.loads(response.read())
        self.answers[f"{method} {response.status}"] += 1
        return response.status, content


def serve(bundle: Path, store: Path) -> None:
    """Run the server, which prints its port, and swap its version every second."""
    import uvicorn

    platform = PersonalityPlatform(SqliteStore(store), Bundle.load(bundle))
    server = uvicorn.Server(server_config(platform, 0))

    def swap() -> None:
        while not server.started:
            time.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        for number in range(1_000_000):
            time.sleep(SWAP_SECONDS)
            platform.use(replace(Bundle.load(bundle), version=f"swap-{number}"))

    threading.Thread(target=swap, daemon=True).start()
    server.run()


def memory(process: int) -> int:
    """Return the resident memory of a process in kB."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def lock(store: Path) -> None:
    """Lock the store as another program would."""
    with closing(sqlite3.connect(store, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(LOCK_SECONDS)
        connection.execute("ROLLBACK")


def soak(bundle: Path, store: Path, seconds: float, clients: int) -> list[str]:
    """Run the server and its clients, print what happened, and return what is wrong."""
    with closing(SqliteStore(store)) as behaviors:
        users = behaviors.users(1000)
    before = rows(store, "SELECT count(*) FROM behaviors")[0][0]
    command = [sys.executable, __file__, "--serve", "--bundle", str(bundle), "--store", str(store)]
    samples: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            port, start = int(server.stdout.readline()), time.monotonic()
            asking = [Client(f"client {n}", port, users[n::clients]) for n in range(clients)]
            threads = [threading.Thread(target=c.run, args=(start + seconds,)) for c in asking]
            threads.append(threading.Timer(seconds / 2, lock, [store]))
            for thread in threads:
                thread.start()
            while time.monotonic() < start + seconds:
                time.sleep(min(1.0, seconds / 20))
                samples.append(memory(server.pid))
            for thread in threads:
                thread.join()
        finally:
            server.kill()
    answers = sum((client.answers for client in asking), Counter())
    versions = sum((client.versions for client in asking), Counter())
    acknowledged = {key: c for client in asking for key, c in client.acknowledged.items()}
    query = "SELECT key, behaviors.user, item, time FROM keys JOIN behaviors USING (place)"
    stored = {key: tuple(click) for key, *click in rows(store, query)}
    added = rows(store, "SELECT count(*) FROM behaviors")[0][0] - before
    quarter = max(1, len(samples) // 4)
    early, late = (
        statistics.median(part) for part in (samples[quarter : 2 * quarter], samples[-quarter:])
    )
    print(f"answers: {dict(answers)}; {len(versions)} versions answered")
    print(f"acknowledged clicks: {len(acknowledged):,}, stored: {len(stored):,} ({added:,} rows)")
    print(f"memory of the server: {early / 1024:.0f} MB, then {late / 1024:.0f} MB")
    faults = [
        f"{n} answers {kind}"
        for kind, n in answers.items()
        if kind not in ("GET 200", "POST 201", "POST 503")
    ]
    lost = [key for key, click in acknowledged.items() if stored.get(key) != click]
    faults += [f"{len(lost)} acknowledged clicks are lost, such as {lost[0]}"] if lost else []
    faults += ["a click is stored twice"] if added != len(stored) else []
    faults += ["no click met the lock"] if not answers["POST 503"] else []
    faults += ["no swap"] if len(versions) < 2 else []
    if seconds >= SETTLED_SECONDS and late > GROWTH * early:
        faults.append(f"the memory grew {late / early:.2f} times")
    return faults


def rows(store: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(query).fetchall()


def main(given: Sequence[str] | None = None) -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="soak.py", description="The server under faults.")
    parser.add_argument("--seconds", type=float, default=60.0, help="(%(default)g)")
    parser.add_argument("--clients", type=int, default=4, help="at once (%(default)s)")
    parser.add_argument("--bundle", type=Path, help="the version to serve (a demonstration)")
    parser.add_argument("--store", type=Path, help="its behavior store, of which a copy is used")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if (options.bundle is None) != (options.store is None):
        parser.error("--bundle and --store go together: a version, and the behaviors it reads")
    if not (options.seconds > 0 and options.clients > 0):
        parser.error("--seconds and --clients: expected more than 0")
    if options.serve:
        with suppress(KeyboardInterrupt):
            serve(options.bundle, options.store)
        return
    bundle, store = options.bundle, options.store
    if bundle is None:
        bundle, store = build_demo("planted", ROOT / "build" / "serving" / "planted")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "store.sqlite"
        shutil.copy(store, copy)
        faults = soak(bundle, copy, options.seconds, options.clients)
    sys.exit("; ".join(faults) or None)


if __name__ == "__main__":
    main()
