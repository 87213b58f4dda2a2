"""`make serve`: what it makes, what it refuses, and what it invites to."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import closing

import pytest
from fastapi.testclient import TestClient

from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.serving import demo
from mindlib.online.serving.__main__ import format_examples, main, parse_arguments
from mindlib.online.serving.app import create_app
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.store import SqliteStore
from mindlib.retrieval.faiss import FaissIndex
from tests.online.serving.test_platform import USER
from tests.online.serving.world import LOG
from tests.reliability import behaves

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--bundle", "here"], "--bundle and --store go together"),
        (["--store", "here"], "--bundle and --store go together"),
        (["--index", "milvus"], 'expected "exact", "faiss" or "milvus:ADDRESS"'),
        (["--bundle", "here", "--store", __file__, "--index", "faiss"], "has its index already"),
        (["--bundle", "here", "--store", "there"], "--store there: there is no such file"),
        (["--port", "0"], "--port 0: expected 1 to 65535"),
        (["--port", "http"], "invalid int value"),
        (["--host", "0.0.0.0"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_is_refused_before_any_work(given, message, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(given)
    assert message in capsys.readouterr().err


def test_what_cannot_be_served_is_one_line(tmp_path):
    (tmp_path / "s.sqlite").touch()
    given = ["--bundle", str(tmp_path / "nowhere"), "--store", str(tmp_path / "s.sqlite")]
    with pytest.raises(SystemExit, match=r"error: .*nowhere lacks manifest\.json"):
        main(given)
    with pytest.raises(SystemExit, match="error: no data set 'nonsense'"):
        main(["--data", "nonsense", "--folder", str(tmp_path)])


def test_a_store_that_does_not_exist_is_not_created(tmp_path, capsys):
    path = tmp_path / "mistyped.sqlite"
    with pytest.raises(SystemExit):
        main(["--bundle", str(tmp_path), "--store", str(path)])
    message = capsys.readouterr().err.splitlines()[-1].partition("error: ")[2]
    assert "there is no such file; to make a store, run in Python: SqliteStore(" in message
    assert not any(tmp_path.iterdir())
    behaves("Serving", "`--store` names a file that does not exist", message)


def test_a_store_of_another_shop_is_refused(tmp_path, bundle, monkeypatch):
    """A version never meets a store on whose items it could not accept clicks."""
    monkeypatch.setattr(Bundle, "load", lambda folder: bundle)
    monkeypatch.setattr("uvicorn.Server.run", lambda self: None)
    path = tmp_path / "s.sqlite"
    with closing(SqliteStore(path)) as store:
        store.add_items(["apple", *bundle.catalogue.item_ids[:-1]])
    given = ["--bundle", str(tmp_path), "--store", str(path)]
    with pytest.raises(SystemExit, match="1 of the 238 items of version 'one'") as error:
        main(given)
    behaves("Serving", "`--store` names the store of another shop", str(error.value))
    main([*given, "--add-items"])
    main(given)
    with closing(SqliteStore(path)) as store:
        assert store.unknown_items(bundle.catalogue.item_ids) == []


@pytest.mark.parametrize("user", [str(USER), "ann's/é b?"])
def test_the_lines_that_it_prints_work(make, store, user):
    platform = make()
    store.append(user, LOG.item_ids[1], 1)
    lines = format_examples(platform, user, "http://127.0.0.1:8000").splitlines()
    get, post = (shlex.split(line) for line in lines if line.lstrip().startswith("curl"))
    with TestClient(create_app(platform), base_url="http://127.0.0.1:8000") as client:
        before = client.get(get[-1]).json()
        headers = dict([post[post.index("-H") + 1].split(": ")])
        body = post[post.index("-d") + 1]
        response = client.post(post[3], content=body, headers=headers)
        assert response.status_code == 201
        assert json.loads(body)["item"] == before["items"][0]["id"]
        after = client.get(get[-1]).json()
    assert before["user"] == after["user"] == json.loads(body)["user"] == user
    assert before["items"][0] not in after["items"]
    assert re.search("serving version 'one'", lines[1])


def test_a_demonstration_is_made_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "load", lambda data: LOG)
    folder, store = demo.build_demo("planted", tmp_path / "shop", "faiss")
    bundle = Bundle.load(folder)
    assert isinstance(bundle.index, FaissIndex)
    assert isinstance(bundle.ranker, DINRanker)
    assert bundle.version == "demo"
    assert bundle.categories.max() > 0
    with closing(SqliteStore(store)) as behaviors:
        assert sorted(behaviors.users(1_000)) == sorted(map(str, LOG.user_ids[1:]))
    said = capsys.readouterr().out
    assert f"{LOG.num_users:,} users" in said

    def refuse(*_: object) -> None:
        raise AssertionError("again")

    monkeypatch.setattr(demo, "load", refuse)
    assert demo.build_demo("planted", tmp_path / "shop") == (folder, store)
    assert "exists already" in capsys.readouterr().out


def test_a_demonstration_that_was_interrupted_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "load", lambda data: LOG)
    SqliteStore(tmp_path / "store.sqlite").close()  # made, but not filled
    monkeypatch.setattr(Bundle, "write", lambda folder, **_: folder.mkdir())
    devices = []
    monkeypatch.setattr(demo, "fit", lambda *_, device: devices.append(device))
    monkeypatch.setattr(demo, "fit_ranker", lambda *_: None)
    _, store = demo.build_demo("planted", tmp_path)
    assert devices == ["cpu"]  # even where there is a GPU, because a bundle serves on the CPU
    with closing(SqliteStore(store)) as behaviors:
        assert behaviors.users(1)


def test_each_engine_has_its_own_demonstration(tmp_path, monkeypatch):
    made = []

    def make(data, folder, index):
        made.append((folder.name, index))
        raise OSError("enough")

    monkeypatch.setattr(demo, "build_demo", make)
    for given in ([], ["--index", "milvus:items.db"]):
        with pytest.raises(SystemExit, match="enough"):
            main(["--data", "planted", "--folder", str(tmp_path), *given])
    assert made == [("planted", "exact"), ("planted-milvus-items.db", "milvus:items.db")]
