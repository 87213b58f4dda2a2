"""The load test: it counts what it should, and no error goes unseen."""

import importlib.util
import io
import json
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mindlib.online.ranking.din import DIN, DINConfig
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.serving.store import SqliteStore
from tests.online.ranking.world import seeded
from tests.online.serving.world import LOG, write
from tests.reliability import behaves

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "load.py"
ANSWER = {
    "items": [{"id": 7}, {"id": 9}],
    "milliseconds": {"extract": 1.0, "recall": 2.5, "total": 4.0},
    "fallbacks": [{"stage": "rank", "reason": "timeout", "fallback": "recall order"}],
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("load_script", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["load_script"] = module  # where its dataclasses look for themselves
    spec.loader.exec_module(module)
    yield module
    del sys.modules["load_script"]


class Response(io.BytesIO):
    status = 0


class Server:
    """An HTTP connection; it answers each method with its reply."""

    def __init__(self, replies: dict[str, tuple[int, Any]]) -> None:
        self.replies = replies
        self.asked: list[tuple[str, str, str | None]] = []

    def request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> None:
        self.asked.append((method, path, body))
        self.last = method

    def getresponse(self) -> Response:
        status, content = self.replies[self.last]
        response = Response(json.dumps(content).encode())
        response.status = status
        return response

    def close(self) -> None:
        pass


@pytest.fixture
def connect(monkeypatch, script):
    def use(**replies: tuple[int, Any]) -> Server:
        server = Server(replies)
        # A connection for each client: what one asks is not what another is answered.
        monkeypatch.setattr(script.http.client, "HTTPConnection", lambda *a, **k: Twin(server))
        return server

    return use


class Twin(Server):
    """Another connection to the same server."""

    def __init__(self, server: Server) -> None:
        self.replies, self.asked = server.replies, server.asked


def test_clients_ask_click_what_was_shown_and_keep_the_times(script, connect):
    server = connect(GET=(200, ANSWER), POST=(201, {}))
    seen = script.load(0, ["a/b", "c"], clients=2, seconds=0.2, warm_up=0)
    assert not seen.errors
    asked = [path for method, path, _ in server.asked if method == "GET"]
    assert set(asked) == {"/recommendations/a%2Fb?n=100", "/recommendations/c?n=100"}
    clicks = [json.loads(body) for method, _, body in server.asked if method == "POST"]
    assert {click["user"] for click in clicks} == {"a/b", "c"}
    assert {click["item"] for click in clicks} == {7, 9}
    assert 0.05 < len(clicks) / len(server.asked) < 0.35
    assert seen.fallbacks == Counter({"rank: timeout": len(asked)})
    assert set(seen.milliseconds["total"]) == {4.0}
    assert set(seen.milliseconds["extract + recall"]) == {3.5}
    assert len(seen.milliseconds["request"]) == len(asked)
    assert len(seen.milliseconds["click"]) == len(clicks)
    table = {row["stage"]: row for row in script.rows(seen)}
    assert table["recall"] == {"stage": "recall", "count": len(asked), "p50": 2.5, "p99": 2.5}
    assert list(table) == ["extract", "recall", "total", "extract + recall", "request", "click"]


def test_the_first_seconds_do_not_count(script, connect):
    server = connect(GET=(200, ANSWER), POST=(201, {}))
    client = script.Client(0, ["a"], 0)
    now = script.time.perf_counter()
    client.run(now + 60, now + 0.05)
    assert server.asked
    assert not client.seen.milliseconds
    assert not client.seen.fallbacks


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ({"GET": (500, {"error": "x"})}, "500"),
        ({"GET": (200, ANSWER | {"items": []})}, "an empty list"),
        ({"GET": (200, ANSWER), "POST": (503, {})}, "POST /clicks: 503"),
    ],
)
def test_any_other_answer_is_an_error_and_ends_the_client(script, connect, replies, message):
    connect(**replies)
    seen = script.load(0, ["a"], clients=3, seconds=5, warm_up=0)
    assert len(seen.errors) == 3
    assert all(message in error for error in seen.errors)


def test_percentiles_are_those_of_the_answers(script):
    seen = script.Seen({"request": [float(n) for n in range(1, 101)]})
    (row,) = script.rows(seen)
    assert (row["count"], row["p50"]) == (100, 50.5)
    assert row["p99"] == pytest.approx(99.01)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    model = DIN.from_log(LOG, DINConfig(dim=8, history_length=8), generator=seeded(0))
    bundle = write(folder / "version", ranker=DINRanker.from_model(model, LOG))
    with closing(SqliteStore(folder / "store.sqlite")) as store:
        store.import_log(LOG)
    return bundle, folder / "store.sqlite"


def test_a_run_leaves_a_record_of_each_stage_and_the_store_as_it_was(shop, tmp_path):
    bundle, store = shop
    before, out = store.read_bytes(), tmp_path / "load.json"
    command = [sys.executable, str(SCRIPT), "--seconds", "1", "--clients", "2"]
    command += ["--bundle", str(bundle), "--store", str(store), "--write", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    table = {row["stage"]: row for row in result["rows"]}
    assert {"store", "extract", "recall", "rank", "rerank", "total", "request"} <= set(table)
    assert all(0 < row["p50"] <= row["p99"] for row in result["rows"])
    stages = sum(table[stage]["p50"] for stage in ("store", "extract", "recall", "rank", "rerank"))
    assert 0.5 * stages < table["total"]["p50"] < table["request"]["p99"]
    assert result["clients"] == 2
    assert result["users"] == LOG.num_users
    assert result["command"].startswith("python benchmarks/load.py --seconds 1")
    assert {"date", "cpu", "cores", "load", "versions", "answers_per_second"} <= set(result)
    assert store.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["load.json"]


def test_an_error_leaves_no_record(shop, tmp_path, script, monkeypatch):
    @contextmanager
    def server(bundle, store):
        yield 0

    def failed(*args, **options):
        return script.Seen({"request": [1.0]}, errors=["Unexpected: 500"])

    monkeypatch.setattr(script, "server", server)
    monkeypatch.setattr(script, "load", failed)
    out = tmp_path / "load.json"
    where = ["--bundle", str(shop[0]), "--store", str(shop[1]), "--write", str(out)]
    with pytest.raises(SystemExit, match="1 of 4 clients met an error: Unexpected: 500"):
        script.main(where)
    assert not out.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--seconds", "0"], "expected more than 0"),
        (["--clients", "0"], "expected 1 to 64"),
        (["--bundle", "x"], "go together"),
        (["--bundle", "x", "--store", "nowhere"], "no such file"),
        (["--write", "nowhere/load.json"], "no folder nowhere"),
        (["--data", "else"], "invalid choice"),
    ],
)
def test_the_command_line_is_checked_first(script, capsys, given, message):
    with pytest.raises(SystemExit):
        script.parse(given)
    assert message in capsys.readouterr().err


def test_under_faults_no_acknowledged_click_is_lost(shop, tmp_path):
    bundle, store = shop
    command = [sys.executable, str(SCRIPT.with_name("soak.py")), "--seconds", "5"]
    command += ["--bundle", str(bundle), "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "acknowledged clicks: " in done.stdout
    behaves(
        "Serving",
        "kill -9 of the server, after a swap every second and a lock of the store",
        "every acknowledged click is stored, once",
    )
