"""The same answers from Milvus, by Milvus Lite; a cluster is asked with the same calls."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mindlib.retrieval import VectorIndex, search
from mindlib.retrieval import milvus as module
from mindlib.retrieval.milvus import MilvusConfig, MilvusIndex
from tests.retrieval.vectors import assert_same_lists, brute_force, problem

NAMES = itertools.count()


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return str(tmp_path_factory.mktemp("milvus") / "lite.db")


def build(uri, items, ids, **options):
    config = MilvusConfig(uri, f"items_{next(NAMES)}", **options)
    return MilvusIndex.build(items, ids, config)


@given(seed=st.integers(0, 2**31), n=st.integers(1, 20), exclude=st.booleans())
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_search_equals_brute_force_after_adding_removing_and_loading(
    uri, tmp_path, seed, n, exclude
):
    p = problem(seed, ties=False)
    index = build(uri, p.items[:30], p.ids[:30])
    index.add(p.items[30:], p.ids[30:])
    index.remove(p.ids[10:20])
    rest = p._replace(
        items=torch.cat([p.items[:10], p.items[20:]]), ids=torch.cat([p.ids[:10], p.ids[20:]])
    )
    assert index.ids.tolist() == rest.ids.tolist()
    index.save(tmp_path / "index")
    expected = brute_force(rest, n, exclude_history=exclude)
    for each in (index, MilvusIndex.load(tmp_path / "index", dim=6, ids=rest.ids)):
        assert isinstance(each, VectorIndex)
        past = p.histories if exclude else None
        found = search(each, p.interests, p.active, n, histories=past)
        assert_same_lists(found, expected, rest)


def test_items_and_queries_go_in_parts(uri, monkeypatch):
    monkeypatch.setattr(module, "ITEMS_AT_ONCE", 7)
    monkeypatch.setattr(module, "QUERIES_AT_ONCE", 2)
    p = problem(3, ties=False)
    index = build(uri, p.items, p.ids)
    found = search(index, p.interests, p.active, 8)
    assert_same_lists(found, brute_force(p, 8, exclude_history=False), p)


def test_the_token_is_not_written(uri, tmp_path):
    index = build(uri, torch.eye(3), torch.arange(1, 4), token="root:secret")
    assert "secret" not in repr(index.config)
    index.save(tmp_path / "index")
    assert b"secret" not in (tmp_path / "index").read_bytes()


def test_a_collection_that_exists_is_refused_and_kept(uri):
    index = build(uri, torch.eye(3), torch.arange(1, 4))
    with pytest.raises(ValueError, match=r"has a collection 'items_.*': choose another name"):
        MilvusIndex.build(torch.eye(2), torch.arange(1, 3), index.config)
    assert index.nearest(torch.eye(3), 1).items.tolist() == [[1], [2], [3]]


def test_a_build_that_fails_leaves_no_collection(uri, monkeypatch):
    def fails(*_):
        raise KeyboardInterrupt

    config = MilvusConfig(uri, "interrupted")
    with monkeypatch.context() as patch:
        patch.setattr(MilvusIndex, "add", fails)
        with pytest.raises(KeyboardInterrupt):
            MilvusIndex.build(torch.eye(3), torch.arange(1, 4), config)
    assert MilvusIndex.build(torch.eye(3), torch.arange(1, 4), config).ids.tolist() == [1, 2, 3]


def test_a_collection_that_changed_or_went_since_it_was_saved_is_refused(uri, tmp_path):
    index = build(uri, torch.eye(3), torch.arange(1, 4))
    index.save(tmp_path / "index")
    index.remove(torch.tensor([2]))
    with pytest.raises(ValueError, match="holds 2 items, 3 when it was saved; build it again"):
        MilvusIndex.load(tmp_path / "index")
    index.client.drop_collection(index.config.collection)
    with pytest.raises(ValueError, match=r"has no collection .*: build the index again"):
        MilvusIndex.load(tmp_path / "index")


def test_more_results_than_milvus_gives_are_refused(uri):
    index = build(uri, torch.eye(3), torch.arange(1, 4))
    with pytest.raises(ValueError, match=r"16385 results .* Milvus gives 16384 at most"):
        index.nearest(torch.eye(3), 16_385)


@pytest.mark.parametrize("uri", ["items", "localhost:19530"])
def test_an_address_that_is_none_is_refused(uri):
    with pytest.raises(ValueError, match=r"expected a path that ends in .db .* or the address"):
        MilvusConfig(uri)


def test_wrong_items_are_refused_before_a_collection_exists(uri):
    config = MilvusConfig(uri, "refused")
    with pytest.raises(ValueError, match="item id 4 twice"):
        MilvusIndex.build(torch.eye(2), torch.tensor([4, 4]), config)
    index = MilvusIndex.build(torch.eye(2), torch.tensor([4, 5]), config)
    with pytest.raises(ValueError, match="item id 5 is in the index"):
        index.add(torch.eye(2), torch.tensor([6, 5]))
    with pytest.raises(ValueError, match="item id 6 is not in the index"):
        index.remove(torch.tensor([6]))
    assert index.ids.tolist() == [4, 5]
