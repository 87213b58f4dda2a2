import json
from pathlib import Path

import pytest

from mindlib.data import load, published
from mindlib.data.published import ADDRESSES, FORMS, PAGES, is_published

USER, ITEM, DAY = "AUSER0000001", "B000000001", 1_300_000_000
FILES = {
    "2014": (f"{USER},{ITEM},5.0,{DAY}", repr({"asin": ITEM, "brand": "Acme"})),
    "2018": (f"{ITEM},{USER},5.0,{DAY}", json.dumps({"asin": ITEM, "brand": "Acme"})),
    "2023": (
        f"user_id,parent_asin,rating,timestamp\n{USER},{ITEM},5.0,{DAY}000",
        json.dumps({"parent_asin": ITEM, "store": "Acme"}),
    ),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.mark.parametrize("edition", ADDRESSES)
def test_an_edition_is_fetched_into_the_cache_and_read(
    edition: str, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def download(url: str, path: Path) -> Path:
        asked.append(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = FILES[edition]["meta_" in url].encode()
        if path.suffix == ".gz":
            import gzip

            data = gzip.compress(data)
        path.write_bytes(data)
        return path

    monkeypatch.setattr(published, "download", download)
    log = load(f"amazon-{edition}-CDs_and_Vinyl")
    assert log.user_ids.tolist() == [None, USER]
    assert log.item_ids.tolist() == [None, ITEM]
    assert log.timestamps.tolist() == [DAY]
    assert log.item_features is not None
    assert log.item_features.names("brand") == ["unknown", "Acme"]
    assert log.name == f"amazon-{edition}-CDs_and_Vinyl"
    assert all("CDs_and_Vinyl" in url and "{" not in url for url in asked)
    assert len(asked) == 2
    assert {file.parent for file in cache.rglob("*.*")} == {cache / f"amazon-{edition}"}
    assert len(load(f"amazon-{edition}-CDs_and_Vinyl", items=None, name="x")) == 1
    assert len(asked) == 3  # without metadata none are fetched


def test_an_address_that_fails_is_answered_with_the_owners_page(monkeypatch: pytest.MonkeyPatch):
    def download(url: str, path: Path) -> Path:
        raise RuntimeError(f"{url}: the server answers 404 Not Found")

    monkeypatch.setattr(published, "download", download)
    for edition, page in PAGES.items():
        with pytest.raises(RuntimeError, match=rf"404 Not .*category is spelled as at {page}"):
            load(f"amazon-{edition}-Bokks")


def test_names_are_told_apart(tmp_path: Path):
    assert is_published("amazon-2014-Books")
    assert is_published("taobao")
    for name in ("amazon-beauty", "amazon-2015-Books", "amazon-2014-", "amazon-2014-a/b", "books"):
        assert not is_published(name)
        with pytest.raises(FileNotFoundError, match=f"name .*{FORMS[0]}"):
            load(name)
    (tmp_path / "amazon-2014-Books").mkdir()  # what exists is read
    with pytest.raises(ValueError, match=r"holds nothing; expected a .inter file"):
        load("amazon-2014-Books")
