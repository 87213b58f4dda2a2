"""A real server, and clients that are slow, silent or too many."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from urllib.parse import quote

import pytest
import uvicorn

from mindlib.online.serving import server
from tests.online.serving.test_platform import USER
from tests.online.serving.world import LOG
from tests.reliability import behaves

pytestmark = [pytest.mark.slow, pytest.mark.enable_socket]

HEAD = b"POST /clicks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
STALLED = {
    "nothing": b"",
    "half a header": HEAD[:30],
    "half a body": HEAD + b'Content-Length: 40\r\n\r\n{"user": ',
}


@pytest.fixture
def running(make, monkeypatch) -> Iterator[tuple[uvicorn.Server, int]]:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 20)
    http_server = uvicorn.Server(server.server_config(make(), 0))
    thread = threading.Thread(target=http_server.run)
    thread.start()
    wait(lambda: http_server.started)
    try:
        yield http_server, http_server.servers[0].sockets[0].getsockname()[1]
    finally:
        http_server.should_exit = True
        thread.join()


def wait(reached) -> None:
    until = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < until, "the condition was not reached in time"
        time.sleep(0.02)


def ask(port: int, method: str, path: str, body: object = None) -> int:
    with closing(http.client.HTTPConnection(server.HOST, port, timeout=30)) as connection:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        return connection.getresponse().status


def answer(client: socket.socket) -> str:
    try:
        response = client.recv(4096)
    except ConnectionError:
        return "closed"
    return response.split(b" ")[1].decode() if response else "closed"


@pytest.mark.parametrize("sent", sorted(STALLED))
def test_300_stalled_requests_neither_stay_nor_stop_the_server(running, sent):
    http_server, port = running
    with ExitStack() as stack:
        clients = []
        for _ in range(300):
            client = stack.enter_context(socket.create_connection((server.HOST, port), 30))
            client.sendall(STALLED[sent])
            clients.append(client)
        # Only then has the server accepted all of them, and none waits in the system's queue.
        answers = Counter(map(answer, clients))
        wait(lambda: not http_server.server_state.connections)
        assert ask(port, "GET", f"/recommendations/{USER}?n=5") == 200
        click = {"user": USER, "item": LOG.item_ids[1]}
        assert ask(port, "POST", "/clicks", click) == 201
    assert answers.keys() <= {"408", "503", "closed"}
    assert answers["408"] >= 20
    wait(lambda: not http_server.server_state.tasks)
    if sent == "half a body":
        behaves(
            "Serving",
            "300 clients send half a request and wait",
            "408 after 10 seconds, 503 above the limit of connections; others are served after it",
        )


def test_a_client_that_reads_nothing_is_disconnected(running):
    http_server, port = running
    request = f"GET /recommendations/{USER}?n=100 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with socket.create_connection((server.HOST, port), 30) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(0.2)
        with suppress(OSError):  # the buffers are full, or the server has disconnected
            while True:
                client.sendall(request * 100)
        wait(lambda: not http_server.server_state.connections)
    assert ask(port, "GET", "/health") == 200


def test_a_connection_serves_requests_for_longer_than_the_limit_of_one(running):
    _, port = running
    with closing(http.client.HTTPConnection(server.HOST, port, timeout=30)) as connection:
        until = time.monotonic() + 1.5
        connection.connect()
        first = connection.sock
        while time.monotonic() < until:
            connection.request("GET", "/health")
            response = connection.getresponse()
            assert (response.status, len(response.read()) > 0) == (200, True)
            time.sleep(0.1)
        assert connection.sock is first


def test_the_limit_of_connections_fits_the_descriptors_of_the_process():
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, limits[1]))
        assert server.max_connections() == 26
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert server.max_connections() <= server.MAX_CONNECTIONS


@pytest.mark.parametrize("user", ["%a0", "%2541", "a/b", "..", "a%"])
def test_an_id_in_a_path_is_decoded_once(running, user):
    """Starlette's test client decodes it twice."""
    _, port = running
    with closing(http.client.HTTPConnection(server.HOST, port, timeout=30)) as connection:
        connection.request("GET", f"/recommendations/{quote(user, safe='')}?n=1")
        assert json.loads(connection.getresponse().read())["user"] == user
