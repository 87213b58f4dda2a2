import gzip
import io
import json
from pathlib import Path
from typing import Any

import pooch
import pytest
import requests

from mindlib.data import load
from mindlib.data.readers.published import EDITIONS, NAMES, fetch
from tests.reliability import refuses

USER, ITEM, DAY = "AUSER0000001", "B000000001", 1_300_000_000
FILES = {
    "2014": (f"{USER},{ITEM},5.0,{DAY}", repr({"asin": ITEM, "brand": "Acme"})),
    "2018": (f"{ITEM},{USER},5.0,{DAY}", json.dumps({"asin": ITEM, "brand": "Acme"})),
    "2023": (
        f"user_id,parent_asin,rating,timestamp\n{USER},{ITEM},5.0,{DAY}000",
        json.dumps({"parent_asin": ITEM, "store": "Acme"}),
    ),
}
URL = "https://example.org/data/log.csv"


class Server:
    """Stands in for pooch's downloader: serves `files`, or raises `error`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.error: OSError | None = None
        self.asked: list[str] = []

    def __call__(self, url: str, output: str, pooch: object) -> None:
        self.asked.append(url)
        data = self.files[next(name for name in self.files if name in url)]
        Path(output).write_bytes(data if self.error is None else data[:2])
        if self.error is not None:
            raise self.error


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(pooch, "HTTPDownloader", lambda **options: server)
    return server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.mark.parametrize("edition", EDITIONS)
def test_an_edition_is_fetched_once_and_read(edition: str, cache: Path, server: Server):
    ratings, metadata = (text.encode() for text in FILES[edition])
    server.files = {
        "/meta_": gzip.compress(metadata),
        "CDs_and_Vinyl": gzip.compress(ratings) if edition == "2023" else ratings,
    }
    name = f"amazon-{edition}-CDs_and_Vinyl"
    log = load(name)
    assert log.user_ids.tolist() == [None, USER]
    assert log.item_ids.tolist() == [None, ITEM]
    assert log.timestamps.tolist() == [DAY]
    assert log.item_features is not None
    assert log.item_features.names("brand") == ["unknown", "Acme"]
    assert log.name == name
    assert all("CDs_and_Vinyl" in url and "{" not in url for url in server.asked)
    assert len(load(name, items=None, name="x")) == 1
    assert len(server.asked) == 2, "the second time the files come from the cache"
    noted = json.loads((cache / f"amazon-{edition}" / "digests.json").read_text())
    assert {file.name for file in (cache / f"amazon-{edition}").iterdir()} == {
        *noted,
        "digests.json",
    }


def test_a_changed_file_is_refused_with_both_digests(tmp_path: Path, server: Server):
    server.files = {"log.csv": b"first"}
    path = fetch(URL, tmp_path, "page")
    first = json.loads((tmp_path / "digests.json").read_text())["log.csv"]
    path.unlink()
    server.files = {"log.csv": b"second"}
    for _ in range(2):  # a new download, and the file in the cache
        with pytest.raises(ValueError, match=rf"sha256 \w{{64}}, expected {first} .*delete the fi"):
            fetch(URL, tmp_path, "page")
    (tmp_path / "digests.json").unlink()
    assert fetch(URL, tmp_path, "page").read_bytes() == b"second"


def test_a_failed_download_has_a_remedy(tmp_path: Path, server: Server):
    server.files, server.error = {"log.csv": b"first"}, OSError(f"no route to {URL}")
    with pytest.raises(OSError, match=r"/log.csv cannot .*\(no route to .*by hand, see the page"):
        fetch(URL, tmp_path, "the page")
    assert list(tmp_path.iterdir()) == [], "no part of the file is left behind"
    server.error = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        fetch(URL, tmp_path, "the page")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[requests.Response]:
    """Stands in for the network below requests: the answers to the next requests."""
    waiting: list[requests.Response] = []

    def send(self: object, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        response = waiting.pop(0)
        response.request, response.url = request, str(request.url)
        return response

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
    return waiting


def answer(status: int, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response.raw = status, io.BytesIO(b"a,b")
    response.headers.update(headers)
    return response


def test_a_redirect_is_followed_over_https_alone(tmp_path: Path, answers: list[requests.Response]):
    answers += [answer(302, location="/other"), answer(301, location="https://b.org"), answer(200)]
    assert fetch(URL, tmp_path, "page").read_bytes() == b"a,b"
    (tmp_path / "log.csv").unlink()
    answers += [answer(302, location="http://example.org/data/log.csv"), answer(200)]
    with refuses(
        "Data files",
        "a download that is redirected from https to http",
        OSError,
        match=r"cannot be downloaded \(redirected to http\); download the file by hand",
    ):
        fetch(URL, tmp_path, "https://example.org")
    assert len(answers) == 1, "the address without https is not requested"
    assert [file.name for file in tmp_path.iterdir()] == ["digests.json"]


@pytest.mark.parametrize(
    "name", ["amazon-beauty", "amazon-2015-Books", "amazon-2014-", "amazon-2014-a/b", "books"]
)
def test_other_names_are_refused(name: str):
    with pytest.raises(FileNotFoundError, match=f"name .*{NAMES[0]}"):
        load(name)


def test_an_existing_folder_has_precedence(tmp_path: Path):
    (tmp_path / "amazon-2014-Books").mkdir()
    with pytest.raises(ValueError, match=r"holds nothing; expected a .inter file"):
        load("amazon-2014-Books")
