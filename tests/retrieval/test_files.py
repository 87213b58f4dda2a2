"""An index on disk: the same answers after loading, and no answer at all from a wrong file."""

import errno
import json
import resource

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mindlib.retrieval import ExactIndex, load_index, search
from mindlib.retrieval import index as module
from mindlib.retrieval.faiss import FaissConfig, FaissIndex
from tests.reliability import refuses
from tests.retrieval.vectors import clustered

AREA = "Index, model and version files"

KINDS = pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ExactIndex, {}),
        (FaissIndex, {}),
        (FaissIndex, {"config": FaissConfig("HNSW16", ef_search=99)}),
        (FaissIndex, {"config": FaissConfig("IVF8,SQfp16", nprobe=3)}),
        (FaissIndex, {"config": FaissConfig("IVF8,PQ8x4fs,RFlat", nprobe=3, refine=3.0)}),
    ],
    ids=["exact", "flat", "hnsw", "ivf", "pq"],
)


def built(kind, options, num_items=400):
    p = clustered(num_items, 16, 8, seed=0)
    return kind.build(p.items, p.ids, **options), p


@KINDS
def test_a_loaded_index_retrieves_the_same_items(kind, options, tmp_path):
    index, p = built(kind, options)
    index.save(tmp_path / "index")
    loaded = load_index(tmp_path / "index", built_from=(p.items.flip(0), p.ids.flip(0)))
    assert type(loaded) is kind
    found, before = (search(each, p.interests, p.active, 20) for each in (loaded, index))
    assert torch.equal(found.items, before.items)
    assert torch.equal(found.scores, before.scores)
    assert torch.equal(loaded.ids, index.ids)


def test_the_settings_of_a_search_are_kept(tmp_path):
    config = FaissConfig("IVF8,SQfp16", nprobe=3)
    built(FaissIndex, {"config": config})[0].save(tmp_path / "index")
    assert vars(load_index(tmp_path / "index"))["config"] == config


@pytest.fixture
def saved(tmp_path):
    index, _ = built(ExactIndex, {}, num_items=50)
    index.save(tmp_path / "index")
    return tmp_path / "index"


def test_the_header_says_what_the_file_holds(saved):
    with safe_open(saved, framework="pt") as file:
        facts = json.loads(file.metadata()["facts"])
    assert (facts["format"], facts["mindlib"]) == (module.FORMAT, "0.1.0")
    assert (facts["engine"], facts["dim"]) == ("ExactIndex", 16)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_file_cut_short_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"is damaged or has another format .*; build it again"):
        load_index(saved)


STALE = {
    "a stale index: the model was trained further": lambda items, ids: (items + 1e-6, ids),
    "an index of another dimension": lambda items, ids: (items[:, :8].contiguous(), ids),
    "an index of fewer items than the model has": lambda items, ids: (
        torch.cat([items, items[:1]]), torch.arange(1, 52)
    ),
    "an index of other item numbers": lambda items, ids: (items, ids + 1),
}  # fmt: skip


@pytest.mark.parametrize("fault", STALE)
def test_an_index_of_other_vectors_is_refused(saved, fault):
    p = clustered(50, 16, 8, seed=0)
    load_index(saved, built_from=(p.items, p.ids))
    with refuses(AREA, fault, ValueError, match=r"other item vectors than .* \(50 items"):
        load_index(saved, built_from=STALE[fault](p.items, p.ids))


class OwnIndex(ExactIndex):
    """An index of a class that mindlib does not know."""


def test_another_engine_is_refused(tmp_path):
    built(OwnIndex, {})[0].save(tmp_path / "index")
    message = "the engine is 'OwnIndex'; expected 'ExactIndex' or 'FaissIndex' or 'MilvusIndex'"
    with refuses(AREA, "an index of another engine", ValueError, match=message):
        load_index(tmp_path / "index")


def test_another_version_of_the_format_is_refused(saved, monkeypatch):
    monkeypatch.setattr(module, "FORMAT", "mindlib index 1")
    built(ExactIndex, {})[0].save(saved)
    monkeypatch.undo()
    message = r"format 'mindlib index 1', .* build it again and save it"
    with refuses(AREA, "an index of another version's format", ValueError, match=message):
        load_index(saved)


def test_a_file_of_something_else_is_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "model")
    message = "was not written by mindlib in the format 'mindlib index 4'; build it again"
    with refuses(AREA, "a safetensors file of something else", ValueError, match=message):
        load_index(tmp_path / "model")


def test_a_flipped_bit_anywhere_is_refused(tmp_path):
    path = tmp_path / "index"
    FaissIndex.build(torch.eye(2), torch.tensor([3, 7])).save(path)
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"index.*; build it again and save it"):
            load_index(path)
    message = "is damaged .its content has another sha256"
    with refuses(AREA, "a flipped bit in an index", ValueError, match=message):  # the last one
        load_index(path)


def test_no_file_is_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"there is no index at .*; build it again and save it"
    ):
        load_index(tmp_path / "index")


def test_a_full_disk_leaves_the_older_index_and_nothing_else(saved):
    """A limit on the size of files stands in for the disk: the kernel refuses just the same."""
    before = saved.read_bytes()
    larger, _ = built(ExactIndex, {}, num_items=4000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(OSError, match=r"could not be written .* earlier files are unchanged"):
            larger.save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(saved.parent.iterdir()) == [saved]
    assert saved.read_bytes() == before


def test_a_read_only_folder_is_refused(saved, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    before = saved.read_bytes()
    index = load_index(saved)
    monkeypatch.setattr("mindlib.data.tensor_file.save_file", denied)  # root may write anywhere
    with pytest.raises(OSError, match=r"Permission denied.* Choose a folder that exists, is writ"):
        index.save(saved)
    assert saved.read_bytes() == before


@pytest.mark.parametrize("where", ["missing/index", "index/inside"])
def test_a_folder_that_is_none_is_refused(saved, where):
    index = load_index(saved)
    with pytest.raises(OSError, match=r"could not be written .* Choose a folder that exists"):
        index.save(saved.parent / where)


def test_an_interrupted_move_leaves_nothing_behind(saved, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    before = saved.read_bytes()
    index = load_index(saved)
    monkeypatch.setattr("mindlib.data.storage.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.save(saved)
    assert list(saved.parent.iterdir()) == [saved]
    assert saved.read_bytes() == before
