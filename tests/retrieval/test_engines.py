"""One call writes and loads an index of every engine, which a short text names."""

import shutil
import subprocess
import sys

import pytest

from mindlib.retrieval import ExactIndex, check_engine, load_index, search, write_index
from mindlib.retrieval.faiss import FaissConfig, FaissIndex
from mindlib.retrieval.milvus import MilvusIndex
from tests.retrieval.vectors import assert_same_lists, brute_force, problem

P = problem(0, ties=False)


def hnsw(items, ids):
    return FaissIndex.build(items, ids, FaissConfig("HNSW16", ef_search=99))


@pytest.mark.parametrize(
    ("engine", "kind"),
    [
        ("exact", ExactIndex),
        ("faiss", FaissIndex),
        (hnsw, FaissIndex),
        ("milvus:items.db", MilvusIndex),
    ],
)
def test_every_engine_writes_an_index_that_moves_with_its_folder(engine, kind, tmp_path):
    (tmp_path / "first").mkdir()
    write_index(tmp_path / "first" / "index", engine, P.items, P.ids)
    (tmp_path / "first").rename(tmp_path / "second")
    index = load_index(tmp_path / "second" / "index", built_from=(P.items, P.ids))
    assert type(index) is kind
    found = search(index, P.interests, P.active, 9, histories=P.histories)
    assert_same_lists(found, brute_force(P, 9, exclude_history=True), P)


def test_an_embedded_database_at_an_absolute_path_stays_there(tmp_path):
    (tmp_path / "first").mkdir()
    engine = f"milvus:{tmp_path / 'items.db'}"
    write_index(tmp_path / "first" / "index", engine, P.items, P.ids)
    with pytest.raises(ValueError, match=r"items\.db exists: choose another path"):
        write_index(tmp_path / "first" / "again", engine, P.items, P.ids)
    shutil.move(tmp_path / "first", tmp_path / "second")
    assert load_index(tmp_path / "second" / "index").ids.tolist() == P.ids.tolist()


def test_a_database_that_is_missing_or_in_use_is_refused(tmp_path):
    write_index(tmp_path / "index", "milvus:items.db", P.items, P.ids)
    database = tmp_path / "items.db"
    lock = "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{lock}; print(flush=True); input()", str(database / "LOCK")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ConnectionError, match=r"does not answer .*; close other processes"):
            load_index(tmp_path / "index")
        other.communicate(b"\n")
    assert len(load_index(tmp_path / "index").ids) == len(P.ids)
    shutil.rmtree(database)
    with pytest.raises(ValueError, match=r"items\.db, which does not exist; move it there"):
        load_index(tmp_path / "index")


def test_an_index_file_that_cannot_be_written_leaves_no_collection(tmp_path, monkeypatch):
    dropped = []
    monkeypatch.setattr(MilvusIndex, "drop", lambda index: dropped.append(index.config.uri))
    monkeypatch.setattr(MilvusIndex, "save", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_index(tmp_path / "index", "milvus:items.db", P.items, P.ids)
    assert dropped == [str(tmp_path / "items.db")]


@pytest.mark.parametrize("engine", ["", "Exact", "milvus", "faiss:HNSW32"])
def test_an_unknown_engine_is_refused(engine, tmp_path):
    for call in (check_engine, lambda text: write_index(tmp_path / "index", text, P.items, P.ids)):
        with pytest.raises(ValueError, match=r'expected "exact", "faiss" or "milvus:ADDRESS"'):
            call(engine)


def test_an_engine_whose_package_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "mindlib.retrieval.faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'mindlib\[serving\]'"):
        check_engine("faiss")
