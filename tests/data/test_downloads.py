"""Downloads from a server of our own on the loopback, which fails in each way in turn."""

import errno
import gzip
import hashlib
import io
import os
import shutil
import socket
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mindlib.data import download, downloads

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]

DATA = bytes(range(251)) * 40_000  # 10 MB: several chunks
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server:
    """Serves `data` at every path, in the ways that a test asks for."""

    def __init__(self) -> None:
        self.data = DATA
        self.tag: str | None = '"one"'
        self.ranges = True  # whether Range is heeded
        self.heeds_if_range = True
        self.promise = 0  # bytes promised beyond those there are
        self.length = True  # whether the length is said
        self.chunked = False
        self.statuses: list[int] = []  # answers to the next requests, instead of the file
        self.cuts: list[int] = []  # after how many bytes the next answers are cut
        self.headers: dict[str, str] = {}
        self.requests: list[dict[str, str]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.answer(self)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that hangs up is a part of these tests

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/log.csv"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        asked = {key.lower(): value for key, value in to.headers.items()}
        self.requests.append(asked)
        if self.statuses:
            to.send_response(self.statuses.pop(0))
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        start = 0
        same = not self.heeds_if_range or asked.get("if-range") in (None, self.tag)
        if self.ranges and same and "range" in asked:
            start = int(asked["range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(self.data):
                to.send_response(416)
                to.send_header("Content-Length", "0")
                to.end_headers()
                return
            to.send_response(206)
            last = len(self.data) - 1
            to.send_header("Content-Range", f"bytes {start}-{last}/{len(self.data)}")
        else:
            to.send_response(200)
        body = self.data[start:]
        if self.tag:
            to.send_header("ETag", self.tag)
        if self.chunked:
            to.send_header("Transfer-Encoding", "chunked")
        elif self.length:
            to.send_header("Content-Length", str(len(body) + self.promise))
        for key, value in self.headers.items():
            to.send_header(key, value)
        to.end_headers()
        cut = self.cuts.pop(0) if self.cuts else None
        if self.chunked:
            to.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) if cut is None else b"fff\r\nshort")
            to.wfile.write(b"0\r\n\r\n" if cut is None else b"")
        else:
            to.wfile.write(body if cut is None else body[:cut])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for, none of which is made."""
    asked: list[float] = []
    monkeypatch.setattr(downloads.time, "sleep", asked.append)
    return asked


def fetch(server: Server, path: Path, **options: object) -> Path:
    return download(server.url, path, progress=False, timeout=5, **options)  # pyright: ignore


def interrupted(server: Server, path: Path) -> None:
    """A call that ends with 4 MB in the part, since the next connection brings nothing."""
    server.cuts = [4_000_000, 0]
    with pytest.raises(RuntimeError, match=r"gave up after 1 .*ended after 4,000,000 of"):
        fetch(server, path, attempts=1)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_file_arrives_whole_and_is_recorded(server: Server, tmp_path: Path):
    target = tmp_path / "new" / "log.csv"
    assert fetch(server, target) == target
    assert target.read_bytes() == DATA
    assert names(target.parent) == ["log.csv", "log.csv.sha256"]
    record = target.with_name("log.csv.sha256").read_text()
    assert record.startswith(f"# {server.url}, {len(DATA)} bytes, fetched 20")
    assert record.endswith(f"\n{SHA256}  log.csv\n")
    assert "range" not in server.requests[0]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_reads_the_record(server: Server, tmp_path: Path):
    fetch(server, tmp_path / "log.csv")
    command = ["sha256sum", "--check", "log.csv.sha256"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "log.csv: OK\n"


def test_what_is_there_is_checked_and_not_fetched_again(server: Server, tmp_path: Path):
    target = fetch(server, tmp_path / "log.csv", sha256=SHA256, size=len(DATA))
    fetch(server, target)
    fetch(server, target, sha256=SHA256)
    assert len(server.requests) == 1
    with pytest.raises(ValueError, match=rf"the length {len(DATA)}, expected 7, as asked for"):
        fetch(server, target, size=7)
    with pytest.raises(ValueError, match=rf"the sha256 {SHA256}, expected {'0' * 64}, as asked"):
        fetch(server, target, sha256="0" * 64)
    target.write_bytes(DATA[:-1])
    with pytest.raises(ValueError, match=rf"expected {SHA256}, as .*log.csv.sha256 has it"):
        fetch(server, target)
    assert len(server.requests) == 1


@pytest.mark.parametrize("tag", ['"one"', None])
def test_a_cut_connection_is_taken_up_where_it_was_cut(
    server: Server, tmp_path: Path, pauses: list[float], tag: str | None
):
    server.tag = tag
    server.cuts = [4_000_000, 2_000_000]
    target = fetch(server, tmp_path / "log.csv", sha256=SHA256)
    assert target.read_bytes() == DATA
    ranges = [request.get("range") for request in server.requests]
    assert ranges == [None, "bytes=4000000-", "bytes=6000000-"]
    assert [request.get("if-range") for request in server.requests] == [None, tag, tag]
    assert pauses == [1.0, 1.0]  # each attempt brought something
    assert names(tmp_path) == ["log.csv", "log.csv.sha256"]


def test_a_later_call_goes_on(server: Server, tmp_path: Path):
    interrupted(server, tmp_path / "log.csv")
    assert names(tmp_path) == ["log.csv.lock", "log.csv.part", "log.csv.part.json"]
    assert fetch(server, tmp_path / "log.csv").read_bytes() == DATA
    assert server.requests[-1]["range"] == "bytes=4000000-"


def test_a_part_that_is_whole_needs_no_connection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads, "_verified", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch(server, tmp_path / "log.csv")
    assert fetch(server, tmp_path / "log.csv").read_bytes() == DATA
    assert len(server.requests) == 1


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: Server, tmp_path: Path):
    interrupted(server, tmp_path / "log.csv")
    server.data, server.tag = DATA[::-1], '"two"'
    assert fetch(server, tmp_path / "log.csv").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("what", ["another tag", "another length"])
def test_a_server_that_heeds_no_if_range_is_seen_through(server: Server, tmp_path: Path, what: str):
    server.heeds_if_range = False
    interrupted(server, tmp_path / "log.csv")
    if what == "another tag":
        server.data, server.tag = DATA[::-1], '"two"'
    else:
        server.data = DATA[::-1] + b"more"
    assert fetch(server, tmp_path / "log.csv").read_bytes() == server.data


def test_a_file_that_became_shorter_is_fetched_anew(server: Server, tmp_path: Path):
    server.heeds_if_range = False
    interrupted(server, tmp_path / "log.csv")
    server.data = DATA[:1000]
    assert fetch(server, tmp_path / "log.csv").read_bytes() == DATA[:1000]


def test_a_part_from_another_address_is_not_used(server: Server, tmp_path: Path):
    address = server.url
    server.url += "?other"
    interrupted(server, tmp_path / "log.csv")
    server.url = address
    fetch(server, tmp_path / "log.csv")
    assert "range" not in server.requests[-1]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_a_part_that_nobody_vouches_for_is_not_used(
    server: Server, tmp_path: Path, tag: str | None
):
    server.tag, server.cuts = tag, [4_000_000]
    assert fetch(server, tmp_path / "log.csv").read_bytes() == DATA
    assert [request.get("range") for request in server.requests] == [None, None]


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path, pauses: list[float]):
    server.ranges, server.cuts = False, [4_000_000, 2_000_000]
    assert fetch(server, tmp_path / "log.csv").read_bytes() == DATA
    assert pauses == [1.0, 2.0]  # the second attempt brought nothing new


def test_the_attempts_are_limited_and_the_pauses_grow(
    server: Server, tmp_path: Path, pauses: list[float]
):
    server.ranges, server.cuts = False, [500] * 20
    with pytest.raises(RuntimeError, match=r"gave up after 9 attempts in a row .*call again"):
        fetch(server, tmp_path / "log.csv", attempts=9)
    assert len(server.requests) == 10  # the first brought 500 bytes
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, status: int):
    server.statuses = [status, status]
    assert fetch(server, tmp_path / "log.csv").read_bytes() == DATA
    server.statuses = [status] * 5
    with pytest.raises(RuntimeError, match=rf"5 attempts .*the server answers {status}"):
        fetch(server, tmp_path / "other.csv")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final_and_names_the_remedy(server: Server, tmp_path: Path, status: int):
    server.statuses = [status]
    with pytest.raises(RuntimeError, match=rf"{server.url}: the server answers {status} .*by hand"):
        fetch(server, tmp_path / "log.csv")
    assert len(server.requests) == 1
    assert not (tmp_path / "log.csv").exists()


def test_a_server_that_is_not_there_is_named(tmp_path: Path, pauses: list[float]):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RuntimeError, match=rf"http://127.0.0.1:{port}/x: gave up .*refused"):
        download(f"http://127.0.0.1:{port}/x", tmp_path / "x", attempts=2, progress=False)
    assert len(pauses) == 1


def test_a_server_that_says_nothing_counts_as_cut(tmp_path: Path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(RuntimeError, match=r"gave up after 1 .*timed out"):
            download(url, tmp_path / "x", attempts=1, timeout=0.05, progress=False)


def test_content_shorter_than_promised_never_gets_the_name(server: Server, tmp_path: Path):
    server.promise = 10
    with pytest.raises(RuntimeError, match="gave up after 5 attempts"):
        fetch(server, tmp_path / "log.csv")
    assert names(tmp_path) == ["log.csv.lock"]


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path):
    with pytest.raises(ValueError, match=rf"sha256 {SHA256}, expected {'0' * 64}; what came"):
        fetch(server, tmp_path / "log.csv", sha256="0" * 64)
    assert names(tmp_path) == ["log.csv.lock"]


def test_a_wrong_length_is_refused_before_the_file_comes(server: Server, tmp_path: Path):
    with pytest.raises(ValueError, match=r"promises 10,040,000 bytes, expected 12"):
        fetch(server, tmp_path / "log.csv", size=12)
    assert names(tmp_path) == ["log.csv.lock"]


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("log.csv", DATA[:5000])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("suffix", "data"), [(".gz", gzip.compress(os.urandom(5000))), (".zip", zipped())]
)
def test_a_truncated_archive_is_refused(server: Server, tmp_path: Path, suffix: str, data: bytes):
    target = tmp_path / f"log.csv{suffix}"
    wrong = bytearray(data)
    wrong[len(data) // 2] ^= 1
    for bad in (data[:-30], bytes(wrong), b"\n<html>Please sign in</html>"):
        server.data = bad
        with pytest.raises(ValueError, match=rf"sent no whole {suffix} .*removed") as caught:
            fetch(server, target)
        assert ("web page, perhaps one that asks for an account" in str(caught.value)) == (
            b"html" in bad
        )
        assert names(tmp_path) == [f"{target.name}.lock"]
    server.data = data
    assert fetch(server, target).read_bytes() == data


def test_a_file_of_unknown_length_needs_a_witness(server: Server, tmp_path: Path):
    server.length = False
    with pytest.raises(ValueError, match=r"does not say how long .*pass size=... or sha256=..."):
        fetch(server, tmp_path / "a.csv")
    assert names(tmp_path) == ["a.csv.lock"]
    assert fetch(server, tmp_path / "b.csv", sha256=SHA256).read_bytes() == DATA
    assert fetch(server, tmp_path / "c.csv", size=len(DATA)).read_bytes() == DATA
    server.cuts = [100]
    assert fetch(server, tmp_path / "d.csv", size=len(DATA)).read_bytes() == DATA
    server.data = DATA + b"more"
    with pytest.raises(ValueError, match=r"sent 10,040,004 bytes, expected 10,040,000"):
        fetch(server, tmp_path / "e.csv", size=len(DATA))


def test_the_end_of_a_chunked_answer_is_marked(server: Server, tmp_path: Path):
    server.chunked = True
    assert fetch(server, tmp_path / "a.csv").read_bytes() == DATA
    server.cuts = [1]
    with pytest.raises(RuntimeError, match="gave up"):
        fetch(server, tmp_path / "b.csv", attempts=1)


def test_a_file_that_is_compressed_on_the_way_is_refused(server: Server, tmp_path: Path):
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(ValueError, match=r"sends the file compressed \(gzip\)"):
        fetch(server, tmp_path / "log.csv")
    server.data = gzip.compress(b"x")  # as some servers call a file that is a .gz
    assert fetch(server, tmp_path / "log.csv.gz").read_bytes() == server.data


def test_a_disk_without_room_is_named_before_anything_comes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(OSError, match=r"needs 10,040,000 more bytes, and 1,000,000 are free"):
            fetch(server, tmp_path / "log.csv")
    assert names(tmp_path) == ["log.csv.lock"]


class FullDisk:
    """A file that takes the first bytes only."""

    def __init__(self, file: io.BufferedWriter, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if len(data) > self.room:
            self.file.write(data[: self.room])
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(data)
        return self.file.write(data)

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def test_a_disk_that_fills_up_keeps_the_part(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real: Callable = Path.open

    def open_part(path: Path, mode: str = "r", *rest: object, **more: object) -> object:
        file = real(path, mode, *rest, **more)
        return FullDisk(file, 3_000_000) if path.suffix == ".part" and mode != "rb" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_part)
        with pytest.raises(OSError, match=r"disk is full after 3,000,000 bytes.*goes on from") as e:
            fetch(server, tmp_path / "log.csv")
    assert e.value.errno == errno.ENOSPC
    assert len(server.requests) == 1  # a full disk is not tried again
    assert fetch(server, tmp_path / "log.csv").read_bytes() == DATA
    assert server.requests[-1]["range"] == "bytes=3000000-"


@pytest.mark.parametrize("place", ["file/log.csv", "file/below/log.csv"])
def test_a_folder_that_cannot_be_is_named(server: Server, tmp_path: Path, place: str):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot be written \(.*choose another path.*/file"):
        fetch(server, tmp_path / place)
    assert server.requests == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_named(server: Server, tmp_path: Path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=r"cannot be written \(Permission denied\)"):
            fetch(server, tmp_path / "log.csv")
    finally:
        tmp_path.chmod(0o700)
    assert server.requests == []


def test_a_missing_right_to_write_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match=r"cannot be written \(Permission denied\); choose"):
        fetch(server, tmp_path / "log.csv")
    assert server.requests == []


def test_one_of_many_fetches_and_the_others_wait(server: Server, tmp_path: Path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(server, tmp_path / "log.csv")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "log.csv"] * 6
    assert len(server.requests) == 1
    assert found[0].read_bytes() == DATA


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "file:///etc/passwd"}, r"expected an address that starts with https://"),
        ({"url": "books.csv"}, r"expected an address"),
        ({"sha256": "ABC"}, "64 lower-case hexadecimal digits"),
        ({"size": 0}, "expected a number of bytes"),
        ({"attempts": 0}, "at least one attempt"),
        ({"timeout": 0.0}, "more than 0 seconds"),
    ],
)
def test_bad_arguments_are_refused_first(tmp_path: Path, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        download(**{"url": "http://127.0.0.1:1/x", "path": tmp_path / "x"} | options)


def test_a_folder_is_no_target(tmp_path: Path):
    with pytest.raises(ValueError, match="is a folder; name the file in it"):
        download("http://127.0.0.1:1/x", tmp_path)
